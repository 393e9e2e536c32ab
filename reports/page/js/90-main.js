// Which place the address names, and the keys that work everywhere.

const page = byId('page');
let overviewNode = null;
let scrolledTo = 0;
let showing = '';

function redraw() {
  speak(state.lang);
  applyTheme();
  overviewNode = null;
  showing = '';
  show();
}

// The overview stays as it is while a cell is looked at: who comes back is where they were.
function show() {
  const run = RUN_BY_ID.get(state.run);
  if (showing === '') replace(page, head(), h('main', { id: 'main', tabindex: '-1' }), foot());
  const main = byId('main');
  if (run) {
    if (showing === 'overview') scrolledTo = scrollY;
    replace(main, cellPage(run));
    document.title = `${run.group.scenario} ${cellName(run)} · pytest-execgo`;
    scrollTo(0, 0);
    if (showing !== '') byId('cell-title').focus({ preventScroll: true });
    setCurrent(run.g);
  } else {
    if (!overviewNode) overviewNode = overview();
    replace(main, overviewNode);
    document.title = `${t('sweep')} ${DATA.sweep.id} · pytest-execgo`;
    refresh();
    if (showing === 'cell') {
      scrollTo(0, scrolledTo);
      if (squares.has(current)) focusSquare(current);
    }
  }
  showing = run ? 'cell' : 'overview';
}

function followFragment() {
  const before = { ...state };
  readFragment();
  if (state.lang !== before.lang || state.theme !== before.theme) redraw();
  else show();
}

const KEYS = {
  '/': () => byId('search')?.focus(),
  '[': () => byId('previous')?.click(),
  ']': () => byId('next')?.click(),
};

function onKey(event) {
  if (event.key === 'Escape') {
    const menu = document.querySelector('details.axis[open]');
    if (menu) {
      menu.open = false;
      menu.querySelector('summary').focus();
    } else if (state.run) go({ run: '' });
    else if (event.target.id === 'search' && state.q) {
      adjust({ q: '' });
      refresh();
    }
    return;
  }
  const typing = event.target.closest?.('input:not([type=checkbox]), textarea');
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
}

// A link that was drawn before a filter was set would forget that filter.
function onClick(event) {
  const link = event.target.closest?.('a[data-run]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go({ run: link.dataset.run });
}

// On paper there is no scrolling: everything that waits to be seen is drawn.
function beforePrint() {
  for (let shut; (shut = document.querySelector('main details:not(.axis, [open])')); ) {
    shut.open = true;
    shut.dispatchEvent(new Event('toggle')); // the browser's own comes when the paper is out
  }
  for (const more of document.querySelectorAll('.scroll + button, .unfold')) more.click();
  if (showing !== 'overview') return;
  panels.forEach(fill);
  moreRows(listed.length);
}

readFragment();
speak(state.lang);
applyTheme();
show();
addEventListener('hashchange', followFragment);
addEventListener('keydown', onKey);
addEventListener('click', onClick);
addEventListener('pointerdown', (event) => closeMenus(event));
addEventListener('beforeprint', beforePrint);
performance.mark('execgo-ready');
