// The connection to the node: opened again by itself, sooner when the device says it is back.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const OPEN_WITHIN_MS = 6000;

/** A chat connection; `on` has opened(), closed(wasAnswering) and event(message). */
export class Chat {
  constructor(on) {
    this.on = on;
    this.tries = 0;
    this.socket = null;
    this.timer = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.timer);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    this.socket = socket;
    const giveUp = setTimeout(() => socket.close(), OPEN_WITHIN_MS);
    socket.addEventListener("open", () => {
      clearTimeout(giveUp);
      this.tries = 0;
      this.on.opened();
    });
    socket.addEventListener("message", (message) => {
      if (socket === this.socket) this.on.event(JSON.parse(message.data));
    });
    socket.addEventListener("close", () => {
      clearTimeout(giveUp);
      if (socket === this.socket) this.lost();
    });
  }

  lost() {
    this.socket = null;
    this.on.closed();
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.tries) * (0.7 + 0.6 * Math.random());
    this.tries += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Try now rather than later. */
  hurry() {
    if (this.socket === null) {
      this.tries = 0;
      this.connect();
    }
  }

  /** The node was found silent by other means: do not wait for TCP to notice. */
  drop() {
    const socket = this.socket;
    if (!socket) return;
    this.lost();
    socket.close();
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }
}
