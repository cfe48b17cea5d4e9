/** `headgate budgets`: how far each tenant's budget is used, and more of one. */
import Table from 'cli-table3'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { BudgetRow, BudgetsAnswer } from '#contracts/budget-ask'
import { OPERATOR_USER } from '#contracts/permissions'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { PLAIN_TABLE } from './plain-table.ts'
import { json, say, tell, token } from './terminal.ts'

interface Flags extends DialFlags {
  tenant?: string
  json?: true
}

interface AddFlags extends DialFlags {
  span: BudgetRow['span']
  unit: BudgetRow['unit']
  json?: true
}

export const budgets = (): Command =>
  dialOptions(new Command('budgets'))
    .summary('how far budgets are used, and more of one')
    .description(
      'Budgets of tenants, over the whole fleet, in their present day or month. For operators. What is drawn is used, ' +
        'or in the hands of an instance that works ahead.',
    )
    .option('--tenant <tenant>', 'of this one only', token)
    .option('--json', 'print the answer as it came')
    .action(list)
    .addCommand(
      dialOptions(new Command('add'))
        .summary('give a tenant more, for the present day or month')
        .argument('<tenant>', 'whose', token)
        .argument('<amount>', 'tokens or USD; to take back: -- -5', number)
        .addOption(
          new Option('--span <span>', 'of which budget').choices(['day', 'month']).default('day'),
        )
        .addOption(
          new Option('--unit <unit>', 'of which budget').choices(['tokens', 'usd']).default('usd'),
        )
        .option('--json', 'print the answer as it came')
        .action(add),
    )

function number(text: string): number {
  const value = Number(text)
  if (!/^-?\d+(\.\d+)?$/.test(text) || value === 0)
    throw new InvalidArgumentError('expected a number that is not 0')
  return value
}

async function list({ tenant, ...flags }: Flags): Promise<void> {
  const answer = await ask(flags, tenant === undefined ? {} : { tenant })
  show(answer, flags.json === true, tenant)
}

async function add(tenant: string, amount: number, flags: AddFlags): Promise<void> {
  const { span, unit } = flags
  show(await ask(flags, { tenant, add: { span, unit, amount } }), flags.json === true)
}

const ask = async (flags: DialFlags, body: object): Promise<BudgetsAnswer> =>
  (await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate) =>
    headgate.admin('budgets', body),
  )) as BudgetsAnswer

function show(answer: BudgetsAnswer, asJson: boolean, tenant?: string): void {
  if (asJson) return json(answer)
  const { budgets: rows, more } = answer
  if (rows.length === 0)
    return say(tenant === undefined ? 'nobody has a budget' : `${tenant} has no budget`)
  const table = new Table({
    head: ['tenant', 'of', 'window', 'budget', 'drawn', 'left', 'begins anew (UTC)'],
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'left'],
    ...PLAIN_TABLE,
  })
  for (const row of rows)
    table.push([
      row.tenant,
      `${row.unit} by ${row.span}`,
      row.window,
      amount(row, row.most + row.added),
      amount(row, row.drawn),
      amount(row, row.left),
      new Date(row.ends_at).toISOString().slice(0, 16).replace('T', ' '),
    ])
  say(table.toString())
  if (more) tell('there are more: ask by --tenant')
}

const amount = ({ unit }: BudgetRow, value: number): string =>
  unit === 'usd'
    ? value.toLocaleString('en', { minimumFractionDigits: 4, maximumFractionDigits: 6 })
    : Math.round(value).toLocaleString('en')
