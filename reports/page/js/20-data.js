// The sweep, as it was embedded: columns become groups and runs; the details of a run are unpacked when it is opened.

const OUTCOMES = ['passed', 'failed', 'error', 'inconclusive', 'skipped'];
const SIGNS = { passed: '✓', failed: '✕', error: '!', inconclusive: '?', skipped: '–' };
const AXES = ['scenario', 'framework', 'mode', 'chaos'];
const LETTERS = ['s', 'f', 'm', 'c'];

const DATA = JSON.parse(byId('data').textContent);
const NAMES = Object.fromEntries(AXES.map((axis, index) => [axis, DATA.axes[index]]));
const GROUPS = rowsOf(DATA.groups).map((group, number) => {
  AXES.forEach((axis, index) => {
    group[axis] = DATA.axes[index][group[LETTERS[index]]];
  });
  return Object.assign(group, { number, runs: [] });
});
const RUNS = rowsOf(DATA.runs).map((run, number) => {
  const group = GROUPS[run.g];
  group.runs.push(number);
  return Object.assign(run, {
    number,
    group,
    outcome: DATA.texts[run.outcome],
    why: DATA.texts[run.why],
    code: DATA.texts[run.code],
  });
});
const RUN_BY_ID = new Map(RUNS.map((run) => [run.id, run]));
const BLOCKS = new Map();
let blockLines = null;

function rowsOf(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
}

// Columns of a lane: times were stored as steps, a column without anything in it not at all.
function laneOf(columns, names, texts) {
  if (!columns) return [];
  let at = 0;
  return columns.t.map((step, row) => {
    at += step;
    const found = { t: at };
    for (const name of names) found[name] = columns[name] ? columns[name][row] : 0;
    for (const name of ['k', 'g', 'a', 's', 'x', 'f', 'w']) if (name in found) found[name] = texts[found[name]];
    return found;
  });
}

function worst(group) {
  return ['failed', 'error', 'inconclusive', 'passed', 'skipped'].find((outcome) => group[outcome]) || 'skipped';
}

function ran(group) {
  return group.passed + group.failed + group.error + group.inconclusive;
}

// The run of a group that is looked at first: one that did not pass, if there is one.
function telling(group) {
  const bad = group.runs.find((number) => !['passed', 'skipped'].includes(RUNS[number].outcome));
  return RUNS[bad ?? group.runs[0]];
}

function searched(run) {
  if (run.text === undefined) {
    const { scenario, framework, mode, chaos } = run.group;
    run.text = [scenario, framework, mode, chaos, run.rep, run.id, run.cell, run.outcome, run.code, run.why]
      .join(' ')
      .toLowerCase();
  }
  return run.text;
}

async function unpacked(block, place) {
  if (!BLOCKS.has(block)) BLOCKS.set(block, inflate(block));
  return (await BLOCKS.get(block))[place];
}

async function inflate(block) {
  if (typeof DecompressionStream === 'undefined') throw new Error(t('too_old'));
  blockLines ??= byId('blocks').textContent.trim().split('\n');
  const text = atob(blockLines[block]);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return JSON.parse(await new Response(stream).text());
}

async function detailOf(run) {
  return unpacked(run.block, run.at);
}

async function planOf(run) {
  return run.plan < 0 ? null : unpacked(...DATA.plan_places[run.plan]);
}
