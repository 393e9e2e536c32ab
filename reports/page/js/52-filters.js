// What is looked at: names on each axis, outcomes, and words.

let searchSoon = 0;

function filterBar() {
  const search = h('input', {
    type: 'search',
    id: 'search',
    placeholder: t('search.hint'),
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-label': t('search'),
    value: state.q,
    on: { input: (event) => searchFor(event.target.value) },
  });
  parts.axes = h('div', { class: 'axes' });
  parts.shown = h('p', { class: 'shown', role: 'status', 'aria-live': 'polite' });
  const form = h('search', { class: 'filters', 'aria-label': t('filters') }, search, parts.axes, parts.shown);
  drawFilters();
  return form;
}

function drawFilters() {
  const open = parts.axes.querySelector('details[open]')?.dataset.axis;
  const focused = document.activeElement?.dataset?.option;
  replace(
    parts.axes,
    AXES.filter((axis) => NAMES[axis].length > 1).map((axis) => axisFilter(axis, axis === open)),
  );
  if (focused) parts.axes.querySelector(`[data-option="${CSS.escape(focused)}"]`)?.focus();
  const shown = shownRuns().length;
  replace(
    parts.shown,
    filtering() ? t('shown', { shown, total: RUNS.length }) : counted('runs', RUNS.length),
    filtering() ? h('button', { type: 'button', class: 'plain', on: { click: clearFilters } }, t('clear')) : null,
  );
  if (byId('search') && byId('search').value !== state.q) byId('search').value = state.q;
}

function axisFilter(axis, open) {
  const chosen = state[axis];
  const title = chosen.length === 0 ? t('all') : chosen.length === 1 ? chosen[0] : t('chosen', { count: chosen.length });
  return h(
    'details',
    { class: 'axis', 'data-axis': axis, open, on: { toggle: closeOthers } },
    h('summary', {}, h('span', { class: 'name' }, t(`axis.${axis}`)), ' ', h('b', {}, title)),
    h(
      'fieldset',
      { 'aria-label': t(`axis.${axis}`) },
      NAMES[axis].map((name) =>
        h(
          'label',
          {},
          h('input', {
            type: 'checkbox',
            checked: chosen.includes(name),
            'data-option': `${axis}:${name}`,
            on: { change: () => toggle(axis, name) },
          }),
          ' ',
          name,
        ),
      ),
    ),
  );
}

function closeOthers(event) {
  if (!event.target.open) return;
  for (const other of document.querySelectorAll('details.axis[open]')) if (other !== event.target) other.open = false;
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll('details.axis[open]')) {
    if (!event || !menu.contains(event.target)) menu.open = false;
  }
}

function toggle(list, name) {
  const chosen = state[list];
  adjust({ [list]: known(list).filter((value) => (value === name) !== chosen.includes(value)) });
  refresh();
}

function searchFor(text) {
  clearTimeout(searchSoon);
  searchSoon = setTimeout(() => {
    // once a frame's worth of typing is over, not at each letter
    adjust({ q: text.slice(0, 200) });
    refresh();
  }, 60);
}

function clearFilters() {
  adjust({ q: '', ...Object.fromEntries(LISTS.map((name) => [name, []])) });
  refresh();
  byId('search').focus();
}
