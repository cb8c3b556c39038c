/** The emulator's stream of server-sent events, read into the store; continued whenever it breaks. */

const RETRY_MS = 1000;

export class Connection {
  constructor(store) {
    this._store = store;
    this._run = "";
    this._open();
  }

  _open() {
    const source = new EventSource(`events?since=${this._store.sequence}`);
    const read = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    read("hello", (hello) => this._hello(hello));
    read("state", (state) => this._store.state(state));
    read("models", (models) => this._store.models(models));
    read("entries", (entries) => this._store.entries(entries));
    source.addEventListener("open", () => this._store.connection(true));
    source.addEventListener("error", () => {
      this._store.connection(false);
      if (source.readyState !== EventSource.CLOSED) return; // the browser itself tries again
      setTimeout(() => this._open(), RETRY_MS);
    });
  }

  /** Another run has another token, which is in its page: this one is loaded anew. */
  _hello(hello) {
    if (this._run && hello.run !== this._run) location.reload();
    this._run = hello.run;
    this._store.hello(hello);
  }
}
