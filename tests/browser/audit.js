// What is wrong with the page as it is laid out now, as a list of sentences.
// Sideways overflow; text cut off or running into other text; contrast below 4.5 (3 for large).
const problems = [];
const root = document.documentElement;
if (root.scrollWidth > window.innerWidth + 1) {
  problems.push(`the page is ${root.scrollWidth} wide in a window of ${window.innerWidth}`);
}

const parse = text => {
  const found = /rgba?\(([^)]+)\)/.exec(text);
  if (!found) return null;
  const [r, g, b, a = 1] = found[1].split(/[ ,/]+/).map(Number);
  return { r, g, b, a };
};
const over = (top, under) => ({
  r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
  b: top.b * top.a + under.b * (1 - top.a), a: 1,
});
const light = c => [c.r, c.g, c.b].map(v => v / 255)
  .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
function behind(node) {
  const layers = [];
  for (let n = node; n instanceof Element; n = n.parentElement) {
    const c = parse(getComputedStyle(n).backgroundColor);
    if (c && c.a > 0) layers.push(c);
    if (c && c.a === 1) break;
  }
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const paper = dark ? { r: 18, g: 18, b: 18, a: 1 } : { r: 255, g: 255, b: 255, a: 1 };
  return layers.reverse().reduce((under, top) => over(top, under), paper);
}

const boxes = [];
const walker = document.createTreeWalker(document.getElementById("app"), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode, owner = text.parentElement;
  const said = text.textContent.trim();
  if (!said || owner.closest(".visually-hidden, [hidden], option, title")) continue;
  const style = getComputedStyle(owner);
  if (style.visibility === "hidden" || style.display === "none") continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  const fixed = Boolean(owner.closest("[data-floating]")) ||
    (() => { for (let n = owner; n instanceof Element; n = n.parentElement)
      if (["fixed", "sticky"].includes(getComputedStyle(n).position)) return true; return false; })();
  const inSvg = owner instanceof SVGElement;

  for (const rect of range.getClientRects()) {
    if (rect.width < 1 || rect.height < 1) continue;
    let shown = { left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom };
    let cut = null, scrolls = false;
    for (let n = owner; n instanceof Element && n !== document.body; n = n.parentElement) {
      const s = getComputedStyle(n);
      if (s.overflowX === "visible" && s.overflowY === "visible") continue;
      if (n instanceof SVGElement) continue;
      const box = n.getBoundingClientRect();
      const outside = shown.right > box.right + 1 || shown.left < box.left - 1 ||
        shown.bottom > box.bottom + 1 || shown.top < box.top - 1;
      if (!outside) continue;
      if (["auto", "scroll"].includes(s.overflowY) || ["auto", "scroll"].includes(s.overflowX)) {
        scrolls = true;
        shown = { left: Math.max(shown.left, box.left), right: Math.min(shown.right, box.right),
          top: Math.max(shown.top, box.top), bottom: Math.min(shown.bottom, box.bottom) };
      } else if (s.textOverflow !== "ellipsis") {
        cut = n;
      } else {
        shown.right = Math.min(shown.right, box.right);
      }
    }
    if (shown.right - shown.left < 1 || shown.bottom - shown.top < 1) continue;
    if (cut) problems.push(`"${said.slice(0, 40)}" is cut off by <${cut.tagName.toLowerCase()} class="${cut.className}">`);
    if (!scrolls && (shown.right > window.innerWidth + 1 || shown.left < -1)) {
      problems.push(`"${said.slice(0, 40)}" runs out of the window`);
    }
    if (!fixed) boxes.push({ ...shown, said, owner });
  }

  const disabled = owner.closest(":disabled");
  const color = parse(inSvg ? style.fill : style.color);
  if (color && !disabled) {
    const under = behind(owner), c = over(color, under);
    const [a, b] = [light(c), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      problems.push(`"${said.slice(0, 40)}" has a contrast of ${ratio.toFixed(2)}`);
    }
  }
}

for (let i = 0; i < boxes.length; i++) {
  for (let j = i + 1; j < boxes.length; j++) {
    const a = boxes[i], b = boxes[j];
    if (a.owner === b.owner) continue;
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // Lines of text may share a little of their line height.
    if (wide > 2 && high > 0.35 * Math.min(a.bottom - a.top, b.bottom - b.top)) {
      problems.push(`"${a.said.slice(0, 30)}" and "${b.said.slice(0, 30)}" overlap`);
    }
  }
}
return [...new Set(problems)];
