// Documents on their way in: one at a time, with progress while they are sent, read and indexed.

import { announce, byId, el, icon } from "./dom.js";
import { words } from "./words.js";

const CLOSE = "M6 6l12 12M18 6L6 18";
const MAX_WAITING = 200;
const DONE_STAYS_MS = 6000;

const waiting = [];
let busy = false;

/** Take files in; they are sent in order. Of those that are too many it is told how many were left out. */
export function upload(files) {
  const room = MAX_WAITING - waiting.length;
  if (files.length > room) {
    const refused = el("li", { class: "upload bad" }, el("span", { class: "state" }, words().tooMany(files.length - room)));
    refused.append(el("button", { type: "button", "aria-label": words().close, click: () => refused.remove() }, icon(CLOSE)));
    byId("uploads").append(refused);
    announce(words().tooMany(files.length - room));
  }
  for (const file of [...files].slice(0, room)) {
    const row = new Row(file);
    byId("uploads").append(row.node);
    waiting.push(row);
  }
  next();
}

async function next() {
  if (busy || !waiting.length) return;
  busy = true;
  const row = waiting.shift();
  if (!row.dismissed) await row.send();
  busy = false;
  next();
}

class Row {
  constructor(file) {
    this.file = file;
    this.dismissed = false;
    this.bar = el("progress", { max: "1", value: "0", "aria-label": file.name });
    this.state = el("span", { class: "state" }, words().stages.waiting);
    this.node = el(
      "li",
      { class: "upload" },
      el("span", { class: "file" }, file.name),
      this.state,
      el("button", { type: "button", "aria-label": words().dismiss(file.name), click: () => this.dismiss() }, icon(CLOSE)),
      this.bar,
    );
  }

  dismiss() {
    this.dismissed = true;
    this.node.remove();
  }

  /** Send the file and follow it; fetch() cannot tell how far an upload is, so this is an XMLHttpRequest. */
  send() {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      let read = 0;
      const take = () => {
        const end = request.responseText.lastIndexOf("\n") + 1;
        for (const line of request.responseText.slice(read, end).split("\n")) if (line) this.show(JSON.parse(line));
        read = Math.max(read, end);
      };
      request.open("POST", `/api/documents?file=${encodeURIComponent(this.file.name)}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.addEventListener("progress", (sent) => {
        if (sent.lengthComputable) this.step(words().stages.uploading, sent.loaded, sent.total);
      });
      request.addEventListener("progress", () => request.status < 400 && take());
      request.addEventListener("load", () => {
        if (request.status < 400) take();
        else this.end("bad", messageIn(request.responseText));
        if (!this.over) this.end("bad", words().uploadLost);
      });
      request.addEventListener("error", () => this.end("bad", words().uploadLost));
      request.addEventListener("loadend", resolve);
      request.send(this.file);
    });
  }

  show(item) {
    if (item.error) this.end("bad", item.error.message);
    else if (item.stage === "failed") this.end("bad", item.reason);
    else if (item.stage === "done") this.end("good", `${words().stages.done}, ${words().passages(item.passages)}`);
    else if (item.stage === "duplicate") this.end("good", words().stages.duplicate);
    else this.step(words().stages[item.stage], item.done, item.total);
  }

  step(stage, done, total) {
    if (total) this.bar.value = done / total;
    else this.bar.removeAttribute("value");
    this.state.textContent = total ? `${stage} ${Math.round((100 * done) / total)} %` : stage;
  }

  end(kind, text) {
    if (this.over) return;
    this.over = true;
    this.bar.remove();
    this.node.classList.add(kind);
    this.state.textContent = text;
    announce(`${this.file.name}: ${text}`);
    if (kind === "good") setTimeout(() => this.dismiss(), DONE_STAYS_MS);
  }
}

function messageIn(body) {
  try {
    return JSON.parse(body).error.message;
  } catch {
    return words().failed;
  }
}

