// What is shown lives in the address' fragment, so that a reload, a bookmark and a link to a colleague show the same.

const state = { q: '', scenario: [], framework: [], mode: [], chaos: [], outcome: [], sort: '', run: '', lang: '', theme: '' };
const LISTS = [...AXES, 'outcome'];

const WEIGHT = { failed: 0, error: 1, inconclusive: 2, passed: 3, skipped: 4 }; // what needs a look comes first
const ORDERS = {
  outcome: (a, b) => WEIGHT[a.outcome] - WEIGHT[b.outcome],
  ...Object.fromEntries(AXES.map((axis, index) => [axis, (a, b) => a.group[LETTERS[index]] - b.group[LETTERS[index]]])),
  repetition: (a, b) => a.rep - b.rep,
  time: (a, b) => (b.wall ?? -1) - (a.wall ?? -1), // the longest first, what never ran last
};

function known(name) {
  return name === 'outcome' ? OUTCOMES : NAMES[name];
}

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  state.q = (given.get('q') || '').slice(0, 200);
  for (const name of LISTS) {
    const wanted = (given.get(name) || '').split(',');
    state[name] = known(name).filter((value) => wanted.includes(value));
  }
  const sort = given.get('sort') || '';
  state.sort = Object.hasOwn(ORDERS, sort.replace(/^-/, '')) ? sort : '';
  state.run = RUN_BY_ID.has(given.get('run')) ? given.get('run') : '';
  state.lang = LANGUAGES.includes(given.get('lang')) ? given.get('lang') : '';
  state.theme = ['light', 'dark'].includes(given.get('theme')) ? given.get('theme') : '';
}

function fragment(changes) {
  const wanted = { ...state, ...changes };
  const parts = [];
  for (const name of ['q', ...LISTS, 'sort', 'run', 'lang', 'theme']) {
    const value = Array.isArray(wanted[name]) ? wanted[name].map(encodeURIComponent).join(',') : encodeURIComponent(wanted[name]);
    if (value) parts.push(`${name}=${value}`);
  }
  return `#${parts.join('&')}`;
}

// Goes somewhere else: the browser's own way back leads here again.
function go(changes) {
  const wanted = fragment(changes);
  if (wanted === (location.hash || '#')) return;
  location.hash = wanted;
}

// Changes the view of the same place: no step that the way back would have to retrace.
function adjust(changes) {
  Object.assign(state, changes);
  history.replaceState(null, '', fragment({}));
}

function filtering() {
  return state.q !== '' || LISTS.some((name) => state[name].length);
}

function matches(run) {
  for (const axis of AXES) if (state[axis].length && !state[axis].includes(run.group[axis])) return false;
  if (state.outcome.length && !state.outcome.includes(run.outcome)) return false;
  const text = searched(run);
  return state.q
    .toLowerCase()
    .split(/\s+/)
    .every((part) => text.includes(part));
}

function sortedBy() {
  return state.sort.replace(/^-/, '') || 'outcome';
}

// The runs that the filters leave, in the order that the table of runs shows them in, and that one goes through them in.
function shownRuns() {
  const order = ORDERS[sortedBy()];
  const sign = state.sort.startsWith('-') ? -1 : 1;
  return RUNS.filter((run) => !filtering() || matches(run)).sort((a, b) => sign * order(a, b) || a.number - b.number);
}
