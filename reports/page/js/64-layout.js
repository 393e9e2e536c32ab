// Where the tasks of a plan stand: each stage is a band, in it a task stands right of all that it waits for.

const BOX = { height: 42, least: 140, most: 200, across: 34, down: 12, band: 30, margin: 14 };

function planLayout(plan) {
  const nodes = new Map(); // task id -> its box; ids are unique in a plan
  const bands = [];
  let top = 0;
  let width = 0;
  for (const stage of plan.stages) {
    const layers = layersOf(stage.tasks);
    const found = place(stage, layers, top + BOX.band, nodes);
    bands.push({ id: stage.id, artifacts: stage.artifacts || [], y: top, height: found.height + BOX.band + BOX.margin });
    width = Math.max(width, found.width);
    top += found.height + BOX.band + BOX.margin + 10;
  }
  const edges = plan.stages
    .flatMap((stage) => [
      ...stage.tasks.flatMap((task) =>
        (task.after || []).map((parent) => ({ kind: 'waits', from: nodes.get(parent), to: nodes.get(task.id) })),
      ),
      ...(stage.bindings || []).map(([source, path, target, into, required]) => ({
        kind: 'binds',
        from: nodes.get(source),
        to: nodes.get(target),
        path,
        into,
        required,
      })),
    ])
    .filter((edge) => edge.from && edge.to);
  return { nodes: [...nodes.values()], bands, edges, width: width + BOX.margin, height: top };
}

// The longest way to each task; a plan that waits in a circle is not valid, and is drawn all the same.
function layersOf(tasks) {
  const depth = new Map(tasks.map((task) => [task.id, 0]));
  for (let pass = 0, moved = true; moved && pass < tasks.length; pass += 1) {
    moved = false;
    for (const task of tasks) {
      const least = Math.max(0, ...(task.after || []).map((parent) => (depth.get(parent) ?? -1) + 1));
      if (least > depth.get(task.id) && least < tasks.length) {
        depth.set(task.id, least);
        moved = true;
      }
    }
  }
  const layers = [];
  for (const task of tasks) (layers[depth.get(task.id)] ||= []).push(task);
  return layers.map((layer) => layer || []);
}

function place(stage, layers, top, nodes) {
  let left = BOX.margin;
  let tallest = 0;
  for (const layer of layers) {
    const middle = (task) => {
      const parents = (task.after || []).map((id) => nodes.get(id)).filter(Boolean);
      return parents.length ? parents.reduce((sum, parent) => sum + parent.y, 0) / parents.length : 0;
    };
    const ordered = layer
      .map((task, index) => ({ task, key: middle(task), index }))
      .sort((a, b) => a.key - b.key || a.index - b.index);
    const width = Math.max(
      BOX.least,
      ...layer.map((task) => Math.min(BOX.most, 38 + Math.max(task.id.length * 7.4, task.tool.length * 6.8))),
    );
    ordered.forEach(({ task }, row) => {
      nodes.set(task.id, { task, stage: stage.id, x: left, y: top + row * (BOX.height + BOX.down), width });
    });
    tallest = Math.max(tallest, layer.length);
    left += width + BOX.across;
  }
  return { width: left - BOX.across + BOX.margin, height: tallest * (BOX.height + BOX.down) - BOX.down };
}
