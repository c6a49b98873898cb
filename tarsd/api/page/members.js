// The strip of computers, asked for every few seconds; a node that does not answer that either is silent. What it told
// last is then shown as what it is: old.

import { byId, el } from "./dom.js";
import { onLanguage, words } from "./words.js";

const EVERY_MS = 3000;
const ANSWER_WITHIN_MS = 4000;
const SILENT_AFTER = 2;

let shown = [];
let missed = 0;

/** Keep the strip fresh; `on` has silent(), there(), and locked(), which resolves when somebody signed in. */
export async function watchMembers(on) {
  onLanguage(show);
  byId("members").addEventListener("click", () => byId("members-dialog").showModal());
  for (;;) {
    if (!document.hidden) await refresh(on);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

async function refresh(on) {
  try {
    const response = await fetch("/api/members", { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    missed = 0;
    if (response.status === 401) await on.locked();
    else if (response.ok) {
      shown = (await response.json()).members;
      show();
      on.there();
    }
  } catch {
    missed += 1;
    if (missed !== SILENT_AFTER) return;
    on.silent();
    shown = shown.map((member) => (member.is_self ? { ...member, state: "suspect", reason: "" } : member));
    show();
  }
}

function show() {
  const chips = shown.map((member) =>
    el(
      "span",
      { class: `chip ${member.state}` },
      el("span", { class: "dot" }),
      el("b", {}, member.name),
      el("span", { class: "note" }, note(member)),
    ),
  );
  byId("members").classList.toggle("old", missed >= SILENT_AFTER);
  byId("members").replaceChildren(el("span", { class: "unseen" }, words().members), ...chips);
  byId("member-list").replaceChildren(...shown.map(card));
}

function note(member) {
  if (member.state !== "alive") return words().states[member.state];
  if (member.is_self) return words().thisOne;
  const busy = (member.load?.running ?? 0) + (member.load?.queued ?? 0);
  return busy ? words().busy(busy) : "";
}

function card(member) {
  const there = member.state === "alive";
  const can = Object.keys(member.capabilities).map((name) => words().can[name] ?? name).filter(Boolean);
  const model = member.capabilities.chat?.model;
  const facts = [
    words().states[member.state],
    member.is_self ? words().thisOne : there && member.rtt_ms ? `${member.rtt_ms.toFixed(1)} ms` : "",
    member.zone === "lab" ? words().zoneLab : "",
    there && member.load?.tokens_per_s ? words().speed(member.load.tokens_per_s) : "",
  ];
  return el(
    "li",
    { class: member.state },
    el("h3", {}, el("span", { class: "dot" }), member.name),
    el("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
    el("p", {}, can.length ? can.join(", ") : words().nothing),
    model && there ? el("p", { class: "model" }, model) : null,
    member.reason && !there ? el("p", { class: "reason" }, member.reason) : null,
  );
}
