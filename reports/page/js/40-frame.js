// The page's head: what it is, its languages and its two looks; and its foot, which tells the keys.

const THEMES = ['', 'light', 'dark'];

function applyTheme() {
  if (state.theme) document.documentElement.dataset.theme = state.theme;
  else delete document.documentElement.dataset.theme;
}

function head() {
  const main = () => byId('main').focus();
  return h(
    'header',
    { class: 'head' },
    h(
      'a',
      {
        class: 'skip',
        href: '#main',
        on: {
          click: (event) => {
            event.preventDefault();
            main();
          },
        },
      },
      t('skip'),
    ),
    h('div', { class: 'brand' }, h('span', { class: 'mark', 'aria-hidden': 'true' }, '✓'), h('span', {}, 'pytest-execgo')),
    h(
      'div',
      { class: 'switches' },
      choice('lang', t('language'), LANGUAGES, (name) => TEXTS[name].language_name, language),
      choice('theme', t('theme'), THEMES, (name) => t(`theme.${name || 'auto'}`), state.theme),
    ),
  );
}

// Everything is drawn anew, the button that was pressed too: whoever uses keys stays on it.
function choice(name, label, values, text, current) {
  return h(
    'div',
    { class: 'choice', role: 'group', 'aria-label': label },
    values.map((value) =>
      h(
        'button',
        {
          type: 'button',
          'aria-pressed': String(value === current),
          'data-value': value || 'auto',
          on: {
            click: () => {
              adjust({ [name]: value });
              redraw();
              byId(`${name}-${value || 'auto'}`).focus();
            },
          },
          id: `${name}-${value || 'auto'}`,
        },
        text(value),
      ),
    ),
  );
}

function foot() {
  const keys = [
    ['/', 'key.search'],
    ['← ↑ → ↓', 'key.move'],
    ['Enter', 'key.open'],
    ['Esc', 'key.back'],
    ['[ ]', 'key.next'],
    ['+ − 0', 'key.zoom'],
    [', .', 'key.step'],
  ];
  return h(
    'footer',
    { class: 'foot' },
    h(
      'details',
      { class: 'keys' },
      h('summary', {}, t('keys')),
      h(
        'dl',
        {},
        keys.map(([key, text]) =>
          h(
            'div',
            {},
            h(
              'dt',
              {},
              key.split(' ').map((one) => h('kbd', {}, one)),
            ),
            h('dd', {}, t(text)),
          ),
        ),
      ),
    ),
    h('p', {}, t('foot')),
  );
}

function badge(outcome) {
  return h(
    'span',
    { class: `badge ${outcome}` },
    h('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[outcome]),
    word('outcome', outcome),
  );
}

function cellName(run) {
  const { framework, mode, chaos } = run.group;
  return `${framework}-${mode}-${chaos}-${run.rep}`;
}

function cellLink(run, text, className) {
  return h('a', { href: fragment({ run: run.id }), class: className, 'data-run': run.id }, text);
}
