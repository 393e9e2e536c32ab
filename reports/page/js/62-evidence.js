// What a run proves and what it left: its history, faults, figures, artifacts, logs, and how to run it again.

function historySection(detail, view) {
  const found = detail.history;
  if (!found) return null;
  const counts = found.counts || {};
  const checks = Object.keys(counts).filter((name) => `${name}_checked` in counts);
  const others = Object.entries(counts).filter(([name]) => !name.endsWith('_checked') && !checks.includes(name));
  const look = { valid: 'passed', invalid: 'failed', unknown: 'inconclusive' }[found.outcome];
  return section(
    'history',
    t('history'),
    h(
      'p',
      {},
      h('span', { class: `badge ${look}` }, word('history', found.outcome)),
      ' ',
      h('span', { class: 'muted' }, others.map(([name, count]) => `${word('count', name)} ${count}`).join(' · ')),
    ),
    (found.violations || []).map((violation) => violationOf(violation, view)),
    found.reasons?.length
      ? h(
          'ul',
          { class: 'reasons' },
          found.reasons.map((reason) => h('li', {}, reason)),
        )
      : null,
    checks.length
      ? h(
          'ul',
          { class: 'checks' },
          checks.map((name) =>
            h(
              'li',
              { class: counts[name] ? 'failed' : 'passed' },
              h('span', { 'aria-hidden': 'true' }, counts[name] ? '✕' : counts[`${name}_checked`] ? '✓' : '–'),
              ' ',
              word('check', name),
              ' ',
              h('span', { class: 'muted' }, `${counts[name]}/${counts[`${name}_checked`]}`),
            ),
          ),
        )
      : null,
  );
}

function violationOf(violation, view) {
  return h(
    'div',
    { class: 'violation' },
    h('h3', {}, h('span', { class: 'badge failed' }, word('check', violation.check)), ' ', violation.said),
    table(
      'witness',
      [t('at'), t('observer'), t('happened'), t('task'), t('said')],
      violation.witness.map(([at, observer, type, what, task, attempt, key, said]) =>
        h(
          'tr',
          {},
          h(
            'td',
            { class: 'tight' },
            h('button', { type: 'button', class: 'plain', on: { click: () => view.show(at) } }, offset(at)),
          ),
          h('td', { class: 'tight' }, word('observer', observer)),
          h('td', { class: 'tight' }, h('code', {}, type === 'event' ? what : `${what} ${type}`)),
          h('td', {}, task, attempt ? ` (${t('attempt', { attempt })})` : ''),
          h('td', { class: 'c-why' }, [key, said].filter(Boolean).join(' · ')),
        ),
      ),
      t('witness'),
    ),
  );
}

function faultsSection(detail) {
  if (!detail.faults?.length) return null;
  return section(
    'faults',
    t('faults'),
    h(
      'ul',
      { class: 'faults' },
      detail.faults.map(([action, target, fate]) => h('li', {}, h('code', {}, `${action} → ${target}`), ' ', h('span', {}, fate))),
    ),
  );
}

function metricsSection(detail) {
  const rates = [
    'plan_validity',
    'submit_accept_rate',
    'scenario_success',
    'recovery_success',
    'determinism_drift',
    'artifact_hash_match',
  ];
  const text = (name, value) => (name.endsWith('_ms') ? duration(value) : rates.includes(name) ? share(value) : figure(value));
  const rows = Object.entries(detail.metrics || {});
  if (!rows.length) return null;
  return section(
    'metrics',
    t('metrics'),
    h(
      'dl',
      { class: 'pairs' },
      rows.map(([name, value]) => h('div', {}, h('dt', {}, word('metric', name)), h('dd', {}, text(name, value)))),
    ),
  );
}

function againSection(run, detail) {
  const words = detail.rerun.split(' ').flatMap((one, at) => [at ? ' ' : '', h('span', {}, one)]);
  const command = h('code', { class: 'command', tabindex: '0', id: 'command' }, words);
  const said = h('span', { role: 'status', class: 'muted' });
  const copy = async () => {
    const range = document.createRange();
    range.selectNodeContents(command);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try {
      await navigator.clipboard.writeText(detail.rerun);
      said.textContent = t('copied');
    } catch {
      // a page from disk may not write the clipboard everywhere: what is selected can be copied by hand
      said.textContent = t('selected');
    }
  };
  const versions = Object.entries(detail.versions || {})
    .map(([name, version]) => `${name} ${version}`)
    .join(' · ');
  return section(
    'again',
    t('again'),
    command,
    h('p', {}, h('button', { type: 'button', class: 'plain', on: { click: copy } }, t('copy')), ' ', said),
    run.outcome === 'skipped'
      ? null
      : h(
          'p',
          { class: 'facts' },
          fact(t('seed'), String(detail.seed ?? 0)),
          fact(t('backend'), detail.backend || ''),
          fact(t('began'), moment(detail.began)),
          versions && fact(t('versions'), versions),
        ),
  );
}

function artifactsSection(run, detail) {
  const files = detail.files || [];
  if (!files.length && run.outcome === 'skipped') return null;
  return section(
    'artifacts',
    t('artifacts'),
    h('p', { class: 'muted' }, h('code', {}, run.id)),
    files.length
      ? h(
          'ul',
          { class: 'files' },
          files.map((name) =>
            h(
              'li',
              {},
              h('a', { href: fileLink([DATA.runs_at, run.id, name]) }, name),
              ' ',
              h('span', { class: 'muted' }, t(`file.${name.split(/[./]/)[0]}`)),
            ),
          ),
        )
      : h('p', {}, t('artifacts.none')),
  );
}

function logsSection(detail) {
  const logs = Object.entries(detail.log || {});
  if (!logs.length) return null;
  return section(
    'logs',
    t('logs'),
    logs.map(([service, lines]) =>
      h(
        'details',
        { open: logs.length === 1 },
        h('summary', {}, word('service', service), ' ', h('span', { class: 'muted' }, counted('lines', lines.length))),
        h('pre', { tabindex: '0' }, lines.join('\n')),
      ),
    ),
  );
}

function eventsSection(course, view) {
  if (!course.events.length) return null;
  const body = h('tbody', {});
  const draw = () => {
    if (body.firstChild) return;
    add(
      body,
      course.events.map((event) =>
        h(
          'tr',
          { class: event.s && lookOf(event.s) === 'failed' ? 'odd' : null },
          h('td', { class: 'tight' }, view.eventButton(event.q)),
          h('td', { class: 'number' }, offset(event.t)),
          h('td', { class: 'tight' }, h('code', {}, event.k)),
          h('td', {}, [event.g, event.a].filter(Boolean).join(' / ')),
          h('td', {}, event.s),
          h('td', { class: 'c-why' }, oneLine(event.x)),
        ),
      ),
    );
  };
  const headings = ['#', t('at'), t('event'), t('where'), t('status'), t('said')];
  return h(
    'details',
    { class: 'card', id: 'events', on: { toggle: draw } },
    h('summary', {}, h('h2', {}, t('events')), ' ', h('span', { class: 'muted' }, counted('events.count', course.events.length))),
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('events') },
      h(
        'table',
        { class: 'events' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            headings.map((text) => h('th', { scope: 'col' }, text)),
          ),
        ),
        body,
      ),
    ),
  );
}
