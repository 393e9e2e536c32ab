// The plan as a picture: boxes are tasks with how they ended, lines what waits for what, dashed lines what is bound where.

function planSection(plan, course) {
  const layout = planLayout(plan);
  const told = h('div', { class: 'told', role: 'status', 'aria-live': 'polite' }, h('p', { class: 'muted hint' }, t('plan.hint')));
  const counts = counted('tasks.count', layout.nodes.length + plan.left_out);
  return section(
    'plan',
    t('plan'),
    h(
      'p',
      { class: 'lead' },
      h('code', {}, plan.id),
      ' ',
      h('span', { class: 'muted' }, `${counted('stages.count', plan.stages.length)} · ${counts}`),
      plan.left_out ? h('span', { class: 'muted' }, ` · ${counted('more', plan.left_out)}`) : null,
    ),
    h(
      'div',
      { class: 'plan-place' },
      h(
        'div',
        { class: 'graph-scroll', tabindex: '0', role: 'region', 'aria-label': t('plan') },
        picture(layout, plan, course, told),
      ),
      told,
    ),
    plan.notes
      ? h(
          'details',
          {},
          h('summary', {}, t('plan.notes')),
          h(
            'ul',
            { class: 'reasons' },
            plan.notes.map((note) => h('li', {}, note)),
          ),
        )
      : null,
  );
}

function picture(layout, plan, course, told) {
  const width = Math.max(layout.width, 300);
  const tell = (box) => replace(told, taskTold(box, plan, course));
  return placed(
    s(
      'svg',
      {
        class: 'graph',
        viewBox: `0 0 ${width} ${layout.height}`,
        width,
        height: layout.height,
        role: 'group',
        'aria-label': t('plan'),
      },
      s(
        'defs',
        {},
        s(
          'marker',
          { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto', class: 'arrow' },
          s('path', { d: 'M0 0L8 4L0 8z' }),
        ),
      ),
      layout.bands.map((band) =>
        s('rect', {
          class: `band ${course.stages.get(band.id)?.look || 'waiting'}`,
          x: 1,
          y: band.y + 1,
          width: width - 2,
          height: band.height - 2,
          rx: 8,
        }),
      ),
      layout.edges.map(edgeOf),
      layout.bands.map((band) => bandName(band, course)),
      layout.nodes.map((box) => boxOf(box, course, tell)),
    ),
    { 'min-width': `${width}px` },
  );
}

function bandName(band, course) {
  const stage = course.stages.get(band.id);
  const took = stage ? ` · ${duration((stage.t1 - stage.t0) / 1000)}` : '';
  const tries = stage && stage.attempt > 1 ? ` · ${t('attempt', { attempt: stage.attempt })}` : '';
  return s(
    'text',
    { class: 'band-name', x: BOX.margin, y: band.y + 20 },
    band.id,
    s('tspan', { class: 'muted' }, `${took}${tries}`),
  );
}

function edgeOf(edge) {
  const { from, to } = edge;
  if (edge.kind === 'waits') {
    const [x1, y1, x2, y2] = [from.x + from.width, from.y + BOX.height / 2, to.x - 2, to.y + BOX.height / 2];
    const bend = Math.max((x2 - x1) / 2, 14);
    return s('path', {
      class: 'waits',
      d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
      'marker-end': 'url(#arrow)',
    });
  }
  const [x1, y1, x2, y2] = [from.x + from.width - 14, from.y + BOX.height, to.x + to.width - 14, to.y - 2];
  const bend = Math.max(Math.abs(y2 - y1) / 2, 16);
  return s(
    'path',
    {
      class: `binds${edge.required ? '' : ' optional'}`,
      d: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`,
      'marker-end': 'url(#arrow)',
    },
    s('title', {}, `${from.task.id}.${edge.path} → ${to.task.id}.${edge.into}`),
  );
}

function boxOf(box, course, tell) {
  const how = course.taskState(box.stage, box.task.id);
  const room = Math.floor((box.width - 32) / 7.2);
  const short = (text, most) => (text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text);
  const react = (event) => {
    if (event.type === 'keydown' && event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    tell(box);
  };
  return s(
    'g',
    {
      class: `task ${how.look}`,
      tabindex: '0',
      role: 'button',
      'aria-label': `${box.task.id}, ${box.task.tool}, ${word('state', how.name)}`,
      transform: `translate(${box.x} ${box.y})`,
      on: { click: react, keydown: react },
    },
    s('title', {}, `${box.task.id} · ${box.task.tool} · ${word('state', how.name)}`),
    s('rect', { width: box.width, height: BOX.height, rx: 7 }),
    s('text', { class: 'sign', x: 10, y: 18 }, how.sign),
    s('text', { class: 'task-name', x: 26, y: 18 }, short(box.task.id, room)),
    s('text', { class: 'tool', x: 26, y: 33 }, short(box.task.tool, Math.floor((box.width - 30) / 6.7))),
  );
}

function taskTold(box, plan, course) {
  const { task } = box;
  const how = course.taskState(box.stage, task.id);
  const bound = plan.stages
    .flatMap((stage) => stage.bindings || [])
    .filter(([source, , target]) => source === task.id || target === task.id);
  const pairs = [
    [t('state'), word('state', how.name)],
    [t('tool'), task.tool],
    [t('retry'), task.retry],
    [t('timeout'), task.timeout && duration(task.timeout)],
    [t('attempts'), how.attempt > 1 ? how.attempt : 0],
    [t('waits_for'), (task.after || []).join(', ')],
  ];
  return [
    h('h3', {}, task.id, ' ', h('span', { class: 'muted' }, box.stage)),
    h(
      'dl',
      { class: 'pairs' },
      pairs.filter(([, value]) => value).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
    ),
    how.error ? h('div', { class: 'said' }, h('p', { class: 'muted' }, t('error')), block(how.error)) : null,
    bound.length
      ? h(
          'ul',
          { class: 'reasons' },
          bound.map(([source, path, target, into]) =>
            h('li', {}, h('code', {}, `${source}.${path}`), ' → ', h('code', {}, `${target}.${into}`)),
          ),
        )
      : null,
    task.input ? h('pre', { class: 'wrap' }, task.input) : null,
  ];
}
