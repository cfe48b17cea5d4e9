/** The runbook as a page of the operator's port: what stands in the operations page, for the version that runs,
 *  where no repository can be reached. Each entry's id is the kind of the finding that leads to it. */
import { runbook, RUNBOOK_KINDS, waitReasonRows } from '#contracts/runbook'

export function runbookPage(): string {
  const entries = RUNBOOK_KINDS.map((kind) => {
    const { title, means, act, more } = runbook[kind]
    return `<article class="card" id="${kind}">
<h2>${inline(title)}</h2>
<p>${inline(means)}</p>
<p><b>What to do:</b> ${inline(act)}.</p>
<p>${inline(more)}</p>
</article>`
  })
  const reasons = waitReasonRows().map(
    ({ reason, means, act }) =>
      `<tr><td class="mono">${reason}</td><td>${inline(means)}</td><td>${inline(act)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>Headgate runbook</title>
<link rel="icon" href="data:," />
<link rel="stylesheet" href="/page/page.css" />
<script type="module" async blocking="render" src="/page/theme.js"></script>
</head>
<body>
<main class="runbook">
<h1>What an operator can do</h1>
<p><a href="/">Back to the dashboard</a></p>
${entries.join('\n')}
<article class="card" id="waiting">
<h2>Why requests wait</h2>
<div class="wide"><table><thead><tr><th>reason</th><th>what it means</th><th>what you can do</th></tr></thead>
<tbody>${reasons.join('\n')}</tbody></table></div>
</article>
</main>
</body>
</html>
`
}

/** Our own text: code and links. Links into the documentation are told by their words. */
const inline = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
    .replaceAll(/\[([^\]]+)\]\(#why-does-it-wait\)/g, '<a href="#waiting">$1</a>')
    .replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1 (in the operations page)')
