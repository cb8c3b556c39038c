/** The emulator's stream of server-sent events, read into the store; continued whenever it breaks. */

import { announce } from "./dom.js";

const RETRY_MS = 1000;

export class Connection {
  constructor(store) {
    this._store = store;
    this._run = "";
    this._source = null;
    // A page that nobody sees costs the emulator nothing, and none of the few connections that a browser has for it.
    document.addEventListener("visibilitychange", () => (document.hidden ? this._close() : this._open()));
    if (!document.hidden) this._open();
  }

  _open() {
    if (this._source || document.hidden) return;
    const source = new EventSource(`events?since=${this._store.sequence}`);
    this._source = source;
    const read = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    read("hello", (hello) => this._hello(hello));
    read("state", (state) => this._store.state(state));
    read("models", (models) => this._store.models(models));
    read("entries", (entries) => this._store.entries(entries));
    source.addEventListener("open", () => {
      announce("");
      this._store.connection(true);
    });
    source.addEventListener("error", () => {
      this._store.connection(false);
      if (source.readyState !== EventSource.CLOSED) return; // the browser itself tries again
      this._source = null;
      this._explain();
      setTimeout(() => this._open(), RETRY_MS);
    });
  }

  /** A stream that is refused does not say why; another request does. */
  async _explain() {
    const response = await fetch("entries?limit=0").catch(() => null);
    if (!response || response.ok) return;
    const { message, Message } = await response.json().catch(() => ({}));
    announce(message ?? Message ?? `The emulator answers ${response.status}.`, true);
  }

  _close() {
    this._source?.close();
    this._source = null;
  }

  /** Another run has another token, which is in its page: this one is loaded anew. */
  _hello(hello) {
    if (this._run && hello.run !== this._run) location.reload();
    this._run = hello.run;
    this._store.hello(hello);
  }
}
