// One answer on the page: grows while it streams, then says who made it and from what.

import { announce, el, icon } from "./dom.js";
import { blocks } from "./markdown.js";
import { memoryCards } from "./memory.js";
import { words } from "./words.js";

const COPY = "M9 9h10v11H9zM5 15V4h10";
const AGAIN = "M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5";
const CHEVRON = "M9 6l6 6-6 6";

const TURN_CHARACTERS = 8000;
const GIVE_UP_MS = 20000; // after its node was lost
const MAY_PASS = new Set(["Unavailable", "PeerLost", "Overloaded", "WorkerLost", "EngineUnavailable"]);

let answers = 0;

/**
 * The view of one answer; feed it the events of `/ws` with `take`. `asked` has what a node must know of the question:
 * text, conversation, language, turns, project, temporary. `again()` asks it once more.
 */
export class Answer {
  constructor(asked, again) {
    this.asked = asked;
    this.again = again;
    this.id = `answer-${(answers += 1)}`;
    this.name = crypto.getRandomValues(new Uint8Array(16)).reduce((name, byte) => name + byte.toString(16).padStart(2, "0"), "");
    this.text = "";
    this.began = performance.now();
    this.lostAt = 0; // when its node was lost, until new text comes
    this.moved = false;
    this.sources = new Map();
    this.cited = []; // the passage of each source
    this.running = true;
    this.painting = false;
    this.state = el("span", {}, words().thinking);
    this.waiting = el("p", { class: "waiting" }, el("span", { class: "dots" }, el("i"), el("i"), el("i")), this.state);
    this.notices = el("div", { class: "notices" });
    this.body = el("div", { class: "body" });
    this.recalled = el("div", { class: "sources recalled", hidden: true });
    this.cards = el("div", { class: "sources", hidden: true });
    this.foot = el("div", { class: "foot" });
    this.node = el("article", { class: "answer", "aria-label": "TARS", "aria-busy": "true" }, this.notices, this.body, this.waiting, this.recalled, this.cards, this.foot);
  }

  /** What to send to a node, be it the first or one that goes on. */
  message() {
    const known = { ...this.asked, answer: this.name };
    return this.text ? { type: "resume", ...known, shown: this.text, sources: this.cited } : { type: "ask", ...known };
  }

  /** The exchange as a later question is told it. */
  turn() {
    const cut = (text) => [...text].slice(0, TURN_CHARACTERS).join("");
    return { question: cut(this.asked.text), answer: cut(this.text) };
  }

  /** Its node was lost; the next one is looked for. */
  lost() {
    this.moved = true;
    this.lostAt ||= performance.now();
    this.node.classList.remove("writing");
    this.state.textContent = words().seeking;
  }

  /** Another node goes on. */
  goesOn(lost, node) {
    this.state.textContent = words().thinking;
    if (lost && lost !== node) this.notice("info", words().moved(lost, node));
  }

  /** Whether it is not time yet to give up. */
  get hopeful() {
    return !this.lostAt || performance.now() - this.lostAt < GIVE_UP_MS;
  }

  /** Whether an event says that this node cannot go on yet: it may just be starting. */
  shouldTryAgain(event) {
    return event.type === "error" && this.lostAt > 0 && this.hopeful && MAY_PASS.has(event.name);
  }

  /** Show one event; return whether the answer is over. */
  take(event) {
    switch (event.type) {
      case "route":
        this.prepared = event.prepared_by;
        if (event.route !== "inference_only") this.state.textContent = words().reading;
        break;
      case "memories":
        this.recalled.replaceChildren(...[memoryCards(event.memories)].filter(Boolean));
        this.recalled.hidden = !event.memories.length;
        break;
      case "sources":
        // once there is text it cites the first ones by number
        if (this.text && this.sources.size) break;
        this.cited = event.sources.map((source) => source.passage).filter(Boolean);
        this.showSources(event.sources);
        break;
      case "notice":
        this.takeNotice(event);
        break;
      case "token":
        this.text += event.text;
        this.lostAt = 0;
        this.node.classList.add("writing");
        this.paint();
        break;
      case "done":
        this.finish(event);
        return true;
      case "stopped":
        this.end(words().stopped);
        return true;
      case "error":
        this.fail(event.sentence, event.retry_after_s);
        return true;
    }
    return false;
  }

  /** The connection went away in the middle. */
  cut() {
    this.notice("warn", words().cut);
    this.end("");
    this.foot.append(this.againButton());
  }

  takeNotice(event) {
    if (event.code === "waiting") {
      this.state.textContent = event.text;
    } else if (event.code === "handover") {
      this.notice("info", event.text);
    } else {
      this.notice("warn", event.text, words().degraded);
    }
  }

  notice(kind, text, title = "") {
    const shown = [...this.notices.children].some((node) => node.dataset.text === text);
    if (shown || !text) return;
    this.notices.append(
      el("p", { class: `notice ${kind}`, "data-text": text }, title && el("strong", {}, `${title}: `), text),
    );
    announce(text);
  }

  paint() {
    if (this.painting) return;
    this.painting = true;
    requestAnimationFrame(() => {
      this.painting = false;
      this.body.replaceChildren(...blocks(this.text, (number) => this.citation(number)));
    });
  }

  citation(number) {
    if (!this.sources.has(number)) return null;
    const show = () => this.openSource(number);
    return el("button", { type: "button", class: "cite", "aria-label": words().source(number), click: show }, String(number));
  }

  openSource(number) {
    const card = this.sources.get(number);
    this.cards.open = true;
    this.cards.querySelector(".all").open = true;
    card.open = true;
    card.querySelector("summary").focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest", behavior: "smooth" });
    card.classList.remove("flash");
    requestAnimationFrame(() => card.classList.add("flash"));
  }

  showSources(sources) {
    const list = sources.map((source) => {
      const card = el(
        "details",
        { class: "source", id: `${this.id}-${source.number}` },
        el(
          "summary",
          {},
          el("span", { class: "number" }, String(source.number)),
          el("span", { class: "file" }, source.file),
          source.page ? el("span", { class: "page" }, words().page(source.page)) : null,
          icon(CHEVRON),
        ),
        el("blockquote", {}, source.text),
      );
      this.sources.set(source.number, card);
      return card;
    });
    const all = el("details", { class: "all", open: true }, el("summary", {}, words().sources(list.length), icon(CHEVRON)), el("div", { class: "cards" }, list));
    this.cards.replaceChildren(all);
    this.cards.hidden = false;
    this.paint();
  }

  finish(done) {
    for (const reason of done.degraded) this.notice("warn", reason, words().degraded);
    if (done.finish_reason === "passages") this.notice("warn", words().passagesOnly);
    if (done.finish_reason === "length") this.notice("info", words().limits[done.limit] || words().limits.max_tokens);
    const made = [words().answeredBy(done.generated_by), shortModel(done.model)];
    if (done.prepared_by && done.prepared_by !== done.generated_by) made.push(words().preparedBy(done.prepared_by));
    made.push(words().seconds(this.moved ? (performance.now() - this.began) / 1000 : done.total_s));
    const writing = done.total_s - done.first_token_s;
    if (!this.moved && done.usage.completion_tokens > 8 && writing > 0.1) made.push(words().speed(done.usage.completion_tokens / writing));
    this.end(made.filter(Boolean).join(" · "));
    this.foot.append(this.copyButton());
    announce(`${words().done}. ${this.text}`);
  }

  fail(sentence, retryAfter) {
    const more = retryAfter ? ` ${words().retryIn(retryAfter)}` : "";
    this.notice("bad", sentence + more, words().failed);
    this.end("");
    this.foot.append(this.againButton());
  }

  end(made) {
    this.running = false;
    this.waiting.remove();
    this.node.classList.remove("writing");
    this.node.setAttribute("aria-busy", "false");
    if (made) this.foot.append(el("span", { class: "made" }, made));
    this.paint();
  }

  copyButton() {
    const label = el("span", {}, words().copy);
    const copy = async () => {
      await navigator.clipboard.writeText(this.text);
      label.textContent = words().copied;
      setTimeout(() => (label.textContent = words().copy), 1500);
    };
    // the clipboard exists only where the browser trusts the page: on loopback or over TLS
    return navigator.clipboard ? el("button", { type: "button", class: "small", click: copy }, icon(COPY), label) : "";
  }

  againButton() {
    return el("button", { type: "button", class: "small", click: () => this.again() }, icon(AGAIN), words().again);
  }
}

const shortModel = (model) => model.split("/").pop().replace(/\.gguf$/i, "");
