/** Calls by which the provider may do more than answer: it runs tools itself, in a container or at MCP servers. Whoever
 *  makes such a call again may have the same done twice. */

/** Tools that the provider only asks its caller to run; a type that is not known may be one of its own. */
const CALLERS_TOOL = /^(custom|bash|text_editor|computer|memory|str_replace)(_|$)/

export const isCallersTool = (type: string): boolean => CALLERS_TOOL.test(type)

/** Whether this Messages body makes such a call. What is no body makes none. */
export function mayAct(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  const { tools, mcp_servers: servers, container } = body as Record<string, unknown>
  if (container != null) return true
  if (Array.isArray(servers) ? servers.length > 0 : servers != null) return true
  return Array.isArray(tools) && tools.some(isProvidersTool)
}

function isProvidersTool(tool: unknown): boolean {
  if (typeof tool !== 'object' || tool === null) return false
  const { type } = tool as { type?: unknown }
  return typeof type === 'string' && !isCallersTool(type)
}
