// What the page itself measures, put there before anything of the widget runs. All in milliseconds.

(() => {
  /** After the next frame has been drawn, and not only begun. */
  const painted = () =>
    new Promise((done) =>
      requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => done(performance.now());
        port2.postMessage(null);
      }),
    );

  const appeared = (find) =>
    new Promise((done) => {
      if (find()) return done();
      const watch = new MutationObserver(() => {
        if (!find()) return;
        watch.disconnect();
        done();
      });
      watch.observe(document, { childList: true, subtree: true });
    });

  const isDrawn = () => document.querySelector(".vw-stage .vw-node");

  /** From the start of the navigation. */
  const first = appeared(isDrawn).then(painted);

  /** When the last of what is out of sight was drawn, from the start of the navigation. */
  async function whole() {
    await first;
    let last = performance.now();
    let count = 0;
    while (performance.now() - last < 400) {
      const now = document.querySelectorAll(".vw-stage .vw-node").length;
      if (now !== count) last = performance.now();
      count = now;
      await after(20);
    }
    return last;
  }

  /** From a click on a closed layer to the picture with what is in it. */
  async function opening(layer) {
    const start = performance.now();
    const area = document.querySelector(`[data-role="layer"][data-layer="${layer}"]`);
    area.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    await appeared(() => document.querySelector(`.vw-stage [data-node^="L${layer}.H"]`));
    return (await painted()) - start;
  }

  /** Frames a second until `isOver`, given what to do before each. */
  async function frames(isOver, each = () => {}) {
    await painted();
    const start = performance.now();
    let count = 0;
    do {
      each();
      await new Promise(requestAnimationFrame);
      count += 1;
    } while (!isOver(performance.now() - start));
    return (1000 * count) / (performance.now() - start);
  }

  const after = (ms) => new Promise((done) => setTimeout(done, ms));

  /** Along the picture and back, where it is wider than its room; along the page, where it is not. */
  function panning(ms) {
    const scroller = document.querySelector(".vw-scroller");
    const wide = scroller.scrollWidth - scroller.clientWidth;
    const axis = wide > 0 ? [scroller, "scrollLeft", wide] : null;
    const page = document.scrollingElement;
    const [box, side, most] = axis ?? [page, "scrollTop", page.scrollHeight - page.clientHeight];
    let at = 0;
    let step = 18;
    return frames((passed) => passed > ms, () => {
      at += step;
      if (at > most || at < 0) step = -step;
      box[side] = Math.max(0, Math.min(at, most));
    });
  }

  let zooming = null;
  let zooms = false;

  function zoomStarts() {
    zooms = true;
    zooming = frames(() => !zooms);
  }

  function zoomEnds() {
    zooms = false;
    return zooming;
  }

  // A hover is answered when the frame after the pointer's event has been drawn.
  let answered = null;
  addEventListener(
    "pointermove",
    (event) => {
      answered = painted().then((end) => end - event.timeStamp);
    },
    { capture: true },
  );

  /** Where nodes and ribbons can be pointed at in what is in sight: some of each. */
  function targets(count) {
    const { width } = document.documentElement.getBoundingClientRect();
    const all = [...document.querySelectorAll(".vw-stage .vw-node .vw-shape")].flatMap((shape) => {
      const box = shape.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      const inside = x > 0 && y > 0 && x < width && y < innerHeight;
      const over = inside && document.elementFromPoint(x, y)?.closest(".vw-stage");
      return over ? [{ x, y }] : [];
    });
    const stride = Math.max(1, Math.floor(all.length / count));
    return all.filter((_, at) => at % stride === 0).slice(0, count);
  }

  const sizes = () => ({
    nodes: document.querySelectorAll(".vw-stage .vw-node, .vw-stage path.vw-cell").length,
    ribbons: document.querySelectorAll(".vw-stage path.vw-ribbon").length,
  });

  window.clock = {
    first,
    whole,
    opening,
    panning,
    targets,
    sizes,
    zoomStarts,
    zoomEnds,
    hovered: () => answered,
  };
})();
