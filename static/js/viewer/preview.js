// The 8-bit preview of a film, in place of the film while that is still on its way over a slow line.

import { element } from "./dom.js";
import { pixelAspect } from "./geometry.js";

const PATIENCE_MS = 300; // a film that comes sooner is shown without its preview

// `onShown` is called with the preview on the screen.
export function createPreview({ stage, onShown }) {
  const picture = element("img", { classes: "hv-preview", alt: "", hidden: "" });
  stage.element.prepend(picture);
  let timer = 0;
  let wanted = 0; // number of the latest film; the previews of earlier ones are dropped

  const fetchIt = async (facts, own) => {
    picture.src = facts.preview_url;
    await picture.decode().catch(() => null); // where it does not come, the film is waited for as without it
    if (own !== wanted || !picture.naturalWidth) return;
    const { clientWidth, clientHeight } = stage.element;
    const tall = facts.rows * pixelAspect(facts);
    const scale = Math.min(clientWidth / facts.columns, clientHeight / tall);
    Object.assign(picture.style, { width: `${facts.columns * scale}px`, height: `${tall * scale}px` });
    picture.hidden = false;
    stage.element.classList.add("has-preview");
    onShown();
  };

  return {
    get isShown() {
      return !picture.hidden;
    },
    begin(facts) {
      const own = ++wanted;
      if (facts.preview_url) timer = setTimeout(() => fetchIt(facts, own), PATIENCE_MS);
    },
    end() {
      wanted += 1;
      clearTimeout(timer);
      picture.hidden = true;
      picture.removeAttribute("src");
      stage.element.classList.remove("has-preview");
    },
  };
}
