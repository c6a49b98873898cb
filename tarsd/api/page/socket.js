// The connection to a node: to the one this page came from, and to another one while that is lost.
//
// 1. A closed connection means that its node is lost; so does, while an answer runs, SILENT_MS without a word.
// 2. Then the peers that the node told are tried, and its own page's node, round and round, ever more slowly.
// 3. When the page's own node is back, and nothing is being answered, it is gone back to.
// 4. Other nodes are shown the passes that a node gave to this session: they stand where a URL would not keep them.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const OPEN_WITHIN_MS = 6000;
const NEXT_WITHIN_MS = 2000; // where there is another one to try
const SILENT_MS = 2000;
const LOOK_MS = 250;
const STALLED_MS = 1500; // we looked this late: it was the page that was held up, not the node
const SOON_MS = 1000; // a connection that was lost so soon was of no use
const KEPT_PASSES = 2; // the node that gave the newest may have been lost before it told the others

/** A chat connection; `on` has joined(session, lost), closed() and event(message). `lost` names the node before, or "". */
export class Chat {
  constructor(on) {
    this.on = on;
    this.home = location.origin;
    this.at = this.home;
    this.node = "";
    this.peers = [];
    this.passes = [];
    this.round = [this.home];
    this.tries = 0;
    this.socket = null;
    this.ready = false; // a session is open: it can be asked
    this.answering = false; // something must come
    this.beats = false;
    this.lostNode = "";
    this.timer = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.heardAt = this.lookedAt = performance.now();
    setInterval(() => this.look(), LOOK_MS);
    this.connect();
  }

  get open() {
    return this.ready;
  }

  get away() {
    return this.ready && this.at !== this.home;
  }

  connect() {
    clearTimeout(this.timer);
    if (!this.round.length) this.round = this.candidates();
    const url = this.round.shift();
    const socket = opened(url, url === this.home ? [] : this.passes);
    if (!socket) {
      this.later();
      return;
    }
    this.socket = socket;
    const giveUp = setTimeout(() => this.failed(socket), this.round.length ? NEXT_WITHIN_MS : OPEN_WITHIN_MS);
    socket.addEventListener("message", (message) => {
      if (socket !== this.socket) return;
      clearTimeout(giveUp);
      this.heardAt = performance.now();
      this.take(JSON.parse(message.data), url);
    });
    socket.addEventListener("close", () => {
      clearTimeout(giveUp);
      this.failed(socket);
    });
  }

  take(event, url) {
    switch (event.type) {
      case "session":
        this.joined(event, url);
        break;
      case "peers":
        this.peers = event.peers;
        break;
      case "beat":
        break;
      default:
        this.on.event(event);
    }
  }

  joined(session, url) {
    this.peers = session.peers;
    this.beats = session.pass !== "";
    if (this.beats && !this.passes.includes(session.pass)) this.passes = [...this.passes, session.pass].slice(-KEPT_PASSES);
    this.node = session.node;
    if (this.ready) return; // another conversation, the same connection
    this.ready = true;
    this.at = url;
    this.joinedAt = performance.now();
    const lost = this.lostNode;
    this.lostNode = "";
    this.on.joined(session, lost);
  }

  candidates() {
    return [...new Set([...this.peers.filter((url) => url !== this.at), this.home, this.at])];
  }

  /** This connection is of no use any more, or never was. */
  failed(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    socket.close();
    if (!this.ready) {
      this.later();
      return;
    }
    this.ready = false;
    this.lostNode = this.node;
    this.round = this.candidates();
    this.on.closed();
    if (performance.now() - this.joinedAt < SOON_MS) {
      this.wait();
    } else {
      this.tries = 0;
      this.connect();
    }
  }

  /** Try the next one of this round at once, a new round after a while. */
  later() {
    if (this.round.length) this.connect();
    else {
      this.on.closed();
      this.wait();
    }
  }

  wait() {
    this.socket = null;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.tries) * (0.7 + 0.6 * Math.random());
    this.tries += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  look() {
    const now = performance.now();
    if (now - this.lookedAt > STALLED_MS || !this.answering) this.heardAt = now;
    this.lookedAt = now;
    if (this.ready && this.beats && now - this.heardAt > SILENT_MS) this.drop();
  }

  /** Try now rather than later. */
  hurry() {
    if (this.socket === null) {
      this.tries = 0;
      this.connect();
    }
  }

  /** The node was found silent: do not wait for TCP to notice. */
  drop() {
    if (this.socket) this.failed(this.socket);
  }

  /** The page's own node answers again. */
  goHome() {
    if (!this.away || this.answering) return;
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    this.round = [this.home, this.at];
    socket.close();
    this.connect();
  }

  send(message) {
    this.heardAt = performance.now();
    this.socket.send(JSON.stringify(message));
  }
}

function opened(url, passes) {
  try {
    const protocols = passes.length ? ["tarsd", ...passes.map((pass) => `tarsd.pass.${pass}`)] : [];
    return new WebSocket(`${url.replace(/^http/, "ws")}/ws`, protocols);
  } catch {
    return null; // a page that came by TLS may open no connection without it
  }
}
