
'use strict';
// Thin lines are hard to hit: the nearest one tells about itself.
const tip = document.body.appendChild(document.createElement('div'));
tip.id = 'tip';
tip.hidden = true;
const at = micro => {
  const ms = Math.round(micro / 1000);
  return (ms < 0 ? '\u2212' : ms > 0 ? '+' : '') + (Math.abs(ms) / 1000).toFixed(3) + ' s';
};
const long = micro => micro < 999500 ? (micro / 1000).toFixed(1) + ' ms' : (micro / 1e6).toFixed(3) + ' s';
const words = (kind, outcome, all, [due, sent, over, target, status, kept, detail]) => {
  const lines = [kind + ': ' + outcome, all.targets[target] || ''];
  if (status) lines.push('status ' + status);
  const late = sent - due >= 1000 ? ' from ' + at(due) + ', when it was due' : '';
  lines.push('sent ' + at(sent) + ', over ' + at(over) + ', took ' + long(over - due) + late);
  lines.push(kept ? 'kept connection' : 'new connection');
  if (detail !== null) lines.push(all.words[detail]);
  return lines.join('\n');
};
for (const figure of document.querySelectorAll('figure')) {
  const all = JSON.parse(figure.querySelector('script').textContent);
  const names = {};
  for (const item of figure.querySelectorAll('.legend li'))
    names[item.dataset.outcome] = item.querySelector('button').lastChild.textContent.trim();
  for (const svg of figure.querySelectorAll('svg.timeline')) {
    let lines = null;
    const read = () => [...svg.querySelectorAll('.requests')].flatMap(path => {
      const { kind, outcome } = path.dataset;
      const told = all.requests[kind + ' ' + outcome];
      return [...path.getAttribute('d').matchAll(/M([\d.-]+) ([\d.-]+)h([\d.-]+)/g)].map((found, index) => {
        const [x1, y, width] = found.slice(1).map(Number);
        return { path, x1, x2: x1 + width, y, words: () => words(kind, names[outcome], all, told[index]) };
      });
    });
    const near = svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
    let shown = null;
    const show = (found, event) => {
      if (shown !== found) {
        near.setAttribute('class', found ? 'near o-' + found.path.dataset.outcome : 'near');
        near.setAttribute('d', found ? `M${found.x1} ${found.y}H${found.x2}` : '');
        if (found) tip.textContent = found.words();
        shown = found;
      }
      tip.hidden = !found;
      if (!found) return;
      tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + 'px';
      const below = event.clientY + 16;
      tip.style.top = (below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below) + 'px';
    };
    svg.addEventListener('pointermove', event => {
      lines ||= read();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = null;
      let least = 8;
      for (const one of lines) {
        if (one.path.style.display) continue;
        const away = Math.hypot(Math.max(one.x1 - at.x, 0, at.x - one.x2), one.y - at.y);
        if (away <= least) [best, least] = [one, away];
      }
      show(best, event);
    });
    svg.addEventListener('pointerleave', event => show(null, event));
  }
}
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    const shown = button.getAttribute('aria-pressed') === 'false';
    button.setAttribute('aria-pressed', shown);
    const outcome = button.parentElement.dataset.outcome;
    for (const part of button.closest('figure').querySelectorAll(`svg.timeline [data-outcome="${outcome}"]`))
      part.style.display = shown ? '' : 'none';
  });
}
