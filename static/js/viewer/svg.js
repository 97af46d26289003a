const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, children = []) {
  const node = set(document.createElementNS(SVG, name), attributes);
  node.append(...children);
  return node;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
