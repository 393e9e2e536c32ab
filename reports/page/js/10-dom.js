// Building the page's nodes. Texts from the data only ever become text nodes and values of harmless attributes.

const SVG = 'http://www.w3.org/2000/svg';
const FOLDED = 8;
const HEAD = 4; // lines of a long text that are always shown, and at its end
const TAIL = 14;
const HARMLESS = new Set(
  [
    'class id role type value title tabindex name for colspan rowspan scope href lang d x y x1 x2 y1 y2',
    'cx cy r rx width height points transform viewBox hidden open checked placeholder autocomplete',
    'spellcheck datetime text-anchor marker-end refX refY markerWidth markerHeight orient',
  ]
    .join(' ')
    .split(' '),
);

function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

function s(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') {
      for (const [event, react] of Object.entries(value)) node.addEventListener(event, react);
    } else {
      setHarmless(node, name, value === true ? '' : String(value));
    }
  }
  add(node, children);
  return node;
}

function setHarmless(node, name, value) {
  if (!HARMLESS.has(name) && !/^(?:aria|data)-[a-z]+$/.test(name)) throw new Error(`attribute ${name} is not for this page`);
  // links lead within this page, or to files beside it: nothing else is ever followed
  if (name === 'href' && !/^(?:#|\.\/)/.test(value)) throw new Error('a link leads out of the report');
  node.setAttribute(name, value);
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function replace(node, ...children) {
  node.replaceChildren();
  return add(node, children);
}

function byId(id) {
  return document.getElementById(id);
}

// A place on a scale of 0..1, in per cent: style attributes are forbidden by the page's own policy, the object model is not.
function placed(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

function section(id, title, ...children) {
  return h('section', { class: 'card', id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), children);
}

// A table; what is beyond its first rows is folded away, where there is much.
function table(className, headings, rows, caption) {
  const first = rows.length > FOLDED + 2 ? rows.slice(0, FOLDED) : rows;
  const body = h('tbody', {}, first);
  const unfold =
    first === rows
      ? null
      : h(
          'button',
          {
            type: 'button',
            class: 'plain',
            on: {
              click: () => {
                unfold.remove();
                add(body, rows.slice(FOLDED));
              },
            },
          },
          counted('more', rows.length - FOLDED),
        );
  return [
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
      h(
        'table',
        { class: className },
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
    unfold,
  ];
}

// What is drawn when it is unfolded, and not before.
function folded(summary, content) {
  const node = h('details', {}, h('summary', {}, summary));
  node.addEventListener('toggle', () => add(node, [content()]), { once: true });
  return node;
}

// A text in its own lines. Of many the first and the last are shown: the last one is what programs end their complaints with.
function block(text) {
  const lines = text.split('\n');
  if (lines.length === 1) return text;
  const pre = h('pre', { class: 'wrap', tabindex: '0' }, text);
  const hidden = lines.length - HEAD - TAIL;
  if (hidden < 3) return pre;
  const unfold = () => replace(pre, text).focus();
  return replace(
    pre,
    `${lines.slice(0, HEAD).join('\n')}\n`,
    h('button', { type: 'button', class: 'plain unfold', on: { click: unfold } }, counted('lines.more', hidden)),
    `\n${lines.slice(-TAIL).join('\n')}`,
  );
}

// A file beside the page, or a folder, whose name ends with a slash: each part of its path is escaped, so that no name can become anything but a path.
function fileLink(parts) {
  return (
    './' +
    parts
      .filter(Boolean)
      .flatMap((part) => part.split('/'))
      .filter(Boolean)
      .map(encodeURIComponent)
      .join('/') +
    (parts.at(-1).endsWith('/') ? '/' : '')
  );
}
