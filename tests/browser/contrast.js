() => {
  // Returns the texts that stand out too little from what is behind them (WCAG 2.2, AA), each with its ratio.
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = color;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => [0, 1, 2].map((part) => (top[part] * top[3] + below[part] * (255 - top[3])) / 255).concat(255);
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.unshift(rgba(getComputedStyle(one).backgroundColor));
    return layers.reduce((below, top) => over(top, below), [255, 255, 255, 255]);
  };
  const painted = (node, drawing) => {
    const box = node.closest('g.task')?.querySelector('rect') || drawing.querySelector('.lane, .band');
    return over(rgba(getComputedStyle(box).fill), behind(drawing));
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.textContent.trim() || !node.checkVisibility() || node.closest('script, style, noscript, title, .skip')) continue;
    const drawing = node.closest('svg');
    const style = getComputedStyle(node);
    const ground = drawing ? painted(node, drawing) : behind(node);
    const [more, less] = [light(over(rgba(drawing ? style.fill : style.color), ground)), light(ground)].sort((a, b) => b - a);
    const ratio = (more + 0.05) / (less + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
      poor.push(`${ratio.toFixed(2)} ${node.tagName} ${node.getAttribute('class')} ${text.textContent.trim().slice(0, 40)}`);
  }
  return poor;
};
