// Browsers start no worker for a page opened from a file, so the search of such a page runs in a hidden frame instead.
// mkdocs-material's offline plugin would load a script for this from another machine; it leaves it when one of this name is there.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.waiting = [];
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      // Scripts one after another, as importScripts promises; the worker awaits what it returns.
      this.inside.importScripts = (...names) =>
        names.reduce((before, name) => before.then(() => this.load(new URL(name, url).href)), Promise.resolve());
      this.load(url).then(() => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
    }
    load(source) {
      return new Promise((done, failed) => {
        const script = this.inside.document.createElement("script");
        Object.assign(script, { src: source, onload: done, onerror: failed });
        this.inside.document.head.append(script);
      });
    }
    postMessage(data) {
      if (this.ready) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
    terminate() {
      this.inside.frameElement.remove();
    }
  };
