// The film on the reading page: shown in place, the next films prefetched, the heatmap loaded only on request.

const NIL = "00000000-0000-0000-0000-000000000000";

export function createFilm(host, addresses, { onShown, onHeatmap, onOut }) {
  let current = host.closest("[data-image]").dataset.image; // the film that the page was rendered with
  let isReady = host.dataset.state === "ready";
  let heatmapUrl = null;
  let heatmapShown = false;

  host.dataset.overlayShown = "false";
  host.addEventListener("hilum:ready", () => {
    isReady = true;
    onShown();
  });
  host.addEventListener("hilum:error", ({ detail }) => {
    isReady = !detail.isOut; // a film that cannot be shown can still be read, with the reason image quality
    onShown();
    if (detail.isOut) onOut();
  });
  host.addEventListener("hilum:heatmap", ({ detail }) => {
    heatmapShown = detail.shown;
    onHeatmap(heatmapShown);
  });

  const urlsOf = (image) => ({
    factsUrl: addresses.facts.replace(NIL, image),
    pixelsUrl: addresses.pixels.replace(NIL, image),
    besideUrl: addresses.beside.replace(NIL, image),
  });

  return {
    get isReady() {
      return isReady;
    },
    show({ item, image }, label) {
      heatmapUrl = addresses.heatmap?.replace(NIL, item) ?? null;
      heatmapShown = false;
      onHeatmap(false);
      host.hilumViewer.setHeatmap(false);
      if (image === current && !host.dataset.overlayUrl) return isReady && onShown();
      current = image;
      isReady = false;
      return host.hilumViewer.show({ ...urlsOf(image), label });
    },
    // Once the person has logged in again: the requests from before were refused.
    fetchAgain() {
      if (isReady) return;
      host.hilumViewer.forget();
      host.hilumViewer.load();
    },
    prefetch(items) {
      host.hilumViewer.prefetch(items.map(({ image }) => urlsOf(image)));
    },
    // The heatmap of this film, which the page may show from now on.
    offerHeatmap(url) {
      heatmapUrl = url;
    },
    toggleHeatmap() {
      if (!heatmapUrl || !isReady) return;
      const viewer = host.hilumViewer;
      const wanted = !heatmapShown;
      if (wanted && !host.dataset.overlayUrl) {
        host.dataset.overlayUrl = heatmapUrl;
        viewer.loadOverlay();
      }
      viewer.setHeatmap(wanted);
    },
    get boxes() {
      return host.hilumViewer.boxes;
    },
    setBoxes(boxes) {
      host.hilumViewer.setBoxes(boxes);
    },
    editBoxes(findings, onChange) {
      host.hilumViewer.editBoxes({ findings, onChange });
    },
    set keys(enabled) {
      if (enabled) host.hilumViewer.resumeKeys();
      else host.hilumViewer.stopKeys();
    },
  };
}
