// The chat page: puts the parts together. It keeps what it shows, and tells each node the turns that went before.

import { Answer } from "./answer.js";
import { announce, byId, el } from "./dom.js";
import { watchMembers } from "./members.js";
import { readyMemory } from "./memory.js";
import { fillProjects } from "./memory_more.js";
import { Chat } from "./socket.js";
import { upload } from "./uploads.js";
import { language, onLanguage, speak, translate, words } from "./words.js";

const NEAR_END_PX = 80;
const MAX_TURNS = 8; // what a node takes
const MAX_SHOWN = 400; // exchanges kept on the page: a tab that stays open for weeks must not grow for ever

const main = byId("main");
const question = byId("question");
let conversation = freshConversation();
let answer = null; // the one that is running and shown
const asked = []; // answers that have not ended, oldest first: events belong to the first
let turns = []; // of this conversation, as a node is told them
let node = "";
let lostNode = ""; // whose place `node` has taken
let following = true;
let temporary = false; // nothing of this chat is remembered
let waiting = false; // Enter was pressed while an answer was being stopped: what is written is asked as soon as it has

function freshConversation() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- the connection ---

const chat = new Chat({
  joined: (session, lost) => {
    node = session.node;
    lostNode = chat.away ? lost || lostNode : "";
    showConnection("open");
    if (!answer) return;
    answer.goesOn(lost, node);
    chat.send(answer.message());
  },
  closed: () => {
    showConnection("lost");
    for (const one of asked.splice(0)) {
      if (one !== answer || one.stopping) one.take({ type: "stopped" });
      else if (one.hopeful) asked.push(one);
      else one.cut();
      if (!one.running) ended(one);
    }
    answer?.lost();
  },
  event: (event) => {
    if (asked[0]?.shouldTryAgain(event)) chat.drop();
    else if (asked[0]?.take(event)) ended(asked.shift());
    follow();
  },
});

function showConnection(state) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent =
    state === "lost" ? words().lost : !node ? words().connecting : lostNode ? words().moved(lostNode, node) : words().connected(node);
  showButton();
}

// --- asking ---

function ask(text) {
  const clean = text.trim();
  if (!clean || !chat.open) return;
  if (answer) return;
  byId("welcome").hidden = true;
  answer = new Answer({ text: clean, conversation, language: language(), turns: [...turns], project: byId("project").value, temporary }, () => ask(clean));
  asked.push(answer);
  chat.answering = true;
  byId("log").append(el("div", { class: "mine" }, el("p", {}, el("span", { class: "unseen" }, `${words().you}: `), clean)), answer.node);
  while (byId("log").children.length > 2 * MAX_SHOWN) byId("log").firstChild.remove();
  chat.send(answer.message());
  announce(words().thinking);
  following = true;
  showButton();
  follow();
}

function ended(one) {
  if (one === answer) {
    answer = null; // else a new chat has begun meanwhile
    if (one.text) turns = [...turns, one.turn()].slice(-MAX_TURNS);
  }
  chat.answering = asked.length > 0;
  showButton();
  if (waiting && !answer) submit();
}

function stop() {
  if (!answer) return;
  answer.stopping = true;
  if (chat.open) chat.send({ type: "stop" });
  else {
    answer.take({ type: "stopped" }); // there is no node to stop it
    ended(asked.shift());
  }
}

function newChat() {
  stop();
  waiting = false;
  conversation = freshConversation();
  byId("log").replaceChildren();
  answer = null;
  turns = [];
  byId("welcome").hidden = false;
  showButton();
  question.focus();
}

// A chat is temporary as a whole: what was said before is not in it, and what was said in it is not in the next one.
byId("temporary").addEventListener("click", () => {
  temporary = !temporary;
  byId("temporary").setAttribute("aria-pressed", String(temporary));
  byId("temporary-badge").hidden = !temporary;
  document.body.classList.toggle("temporary", temporary);
  newChat();
});
byId("project").addEventListener("change", newChat);

// --- the composer ---

function showButton() {
  const send = byId("send");
  send.classList.toggle("stop", answer !== null);
  send.disabled = answer === null && (!question.value.trim() || !chat?.open);
  const label = answer ? words().stop : words().send;
  send.setAttribute("aria-label", label);
  send.title = label;
  question.placeholder = words().ask;
}

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function submit() {
  waiting = false;
  if (answer) {
    stop();
    return;
  }
  if (!chat.open) return; // the text stays until the connection is back
  ask(question.value);
  question.value = "";
  fit();
  showButton();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
question.addEventListener("input", () => {
  fit();
  showButton();
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!answer) submit();
    else waiting = answer.stopping;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && answer && !document.querySelector("dialog[open]")) stop();
});
byId("new-chat").addEventListener("click", newChat);

// --- following the newest text, unless the reader scrolled away ---

function follow() {
  if (following) requestAnimationFrame(() => requestAnimationFrame(() => main.scrollTo({ top: main.scrollHeight })));
}

// what is below it grew: documents, a long question, a phone's keyboard; the welcome is read from its top
new ResizeObserver(() => byId("welcome").hidden && follow()).observe(main);
main.addEventListener("scroll", () => {
  following = main.scrollHeight - main.scrollTop - main.clientHeight < NEAR_END_PX;
  byId("latest").hidden = following;
});
byId("latest").addEventListener("click", () => {
  following = true;
  follow();
});

// --- documents ---

byId("attach").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => {
  upload(event.target.files);
  event.target.value = "";
});
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop").hidden = true;
  upload(event.dataTransfer.files);
});

// --- colours and language ---

const THEMES = ["auto", "light", "dark"];

function paintTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").title = words().theme(theme);
  byId("theme").setAttribute("aria-label", words().theme(theme));
}

function storedTheme() {
  try {
    const theme = localStorage.getItem("tars-theme");
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

byId("theme").addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  paintTheme(theme);
  announce(words().theme(theme));
  try {
    localStorage.setItem("tars-theme", theme);
  } catch {
    // not kept, still in force
  }
});
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => speak(button.dataset.language));
}

function showIdeas() {
  const ideas = words().ideas.map((text) => el("li", {}, el("button", { type: "button", click: () => ask(text) }, text)));
  byId("ideas").replaceChildren(...ideas);
}

function showWords() {
  showIdeas();
  fillProjects();
  showConnection(byId("connection").dataset.state ?? "connecting");
  paintTheme(document.documentElement.dataset.theme ?? storedTheme());
}

// --- signing in, where the node is reached over the network ---

function signIn() {
  const dialog = byId("sign-in");
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    byId("sign-in-form").onsubmit = async (event) => {
      event.preventDefault();
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ token: byId("token").value });
      const response = await fetch("/api/session", { method: "POST", headers, body }).catch(() => null);
      byId("sign-in-wrong").textContent = response?.ok ? "" : response ? words().wrongToken : words().lost;
      if (!response?.ok) return;
      dialog.close();
      fillProjects();
      chat.hurry();
      resolve();
    };
  });
}
byId("sign-in").addEventListener("cancel", (event) => event.preventDefault());

translate();
readyMemory(fillProjects);
onLanguage(showWords);
showWords();
fit();
watchMembers({ silent: () => chat.away || chat.drop(), there: () => chat.goHome(), locked: signIn });
