// Projects, and the diary of the nightly jobs, in the view of memory; and the chooser of a chat's project.

import { byId, el } from "./dom.js";
import { day, memoryWords } from "./memory_words.js";
import { request } from "./requests.js";

const LIMIT = 50;

/** Return the rows of the projects; `again` shows them anew. */
export async function showProjects(attempt, say, again) {
  const told = memoryWords().projects;
  const found = (await request("GET", "/api/projects")).projects;
  const name = el("input", { type: "text", maxlength: "200", placeholder: told.hint, "aria-label": told.hint });
  const begin = async (event) => {
    event.preventDefault();
    if (!name.value.trim()) return;
    await attempt(() => request("POST", "/api/projects", { name: name.value.trim() }));
    await again();
  };
  const end = (project) => attempt(async () => {
    await request("PATCH", `/api/projects/${encodeURIComponent(project.id)}`, { is_ended: true });
    await again();
  });
  const rows = found.map((project) =>
    el(
      "li",
      { class: "memory" },
      el("h3", {}, project.name),
      project.text ? el("p", {}, project.text) : null,
      el("p", { class: "facts" }, [
        project.began_at ? `${told.began} ${day(project.began_at)}` : "",
        project.ended_at ? `${told.ended} ${day(project.ended_at)}` : "",
        project.members.join(", "),
        memoryWords().counts(project.memories, project.summaries),
      ].filter(Boolean).join(" · ")),
      project.ended_at ? null : el("div", { class: "acts" }, el("button", { type: "button", class: "small", click: () => end(project) }, told.end)),
    ),
  );
  const form = el("li", {}, el("form", { class: "add", submit: begin }, name, el("button", { class: "small" }, told.add)));
  return [form, ...(rows.length ? rows : [el("li", { class: "empty" }, told.empty)])];
}

/** Return the rows of the diary. */
export async function showDiary(attempt, say, again) {
  const told = memoryWords().diary;
  const found = (await request("GET", `/api/diary?limit=${LIMIT}`)).entries;
  const undo = (entry) => attempt(async () => {
    const done = await request("POST", `/api/diary/${encodeURIComponent(entry.id)}/undo`);
    say(told.done(done.restored.length), ...(done.kept.length ? [told.kept, ...done.kept] : []));
    await again();
  });
  const rows = found.map((entry) =>
    el(
      "li",
      { class: "memory" },
      el("p", {}, entry.what),
      el("p", { class: "facts" }, [entry.job, entry.node, day(entry.ended_at), entry.undone_at ? told.undone : ""].filter(Boolean).join(" · ")),
      entry.changes && !entry.undone_at ? el("div", { class: "acts" }, el("button", { type: "button", class: "small", click: () => undo(entry) }, told.undo)) : null,
    ),
  );
  return rows.length ? rows : [el("li", { class: "empty" }, told.empty)];
}

/** Fill the chooser of a chat's project; it is hidden where there are none, or they may not be seen. */
export async function fillProjects() {
  const chooser = byId("project");
  const found = await request("GET", "/api/projects").catch(() => ({ projects: [] }));
  const open = found.projects.filter((project) => !project.ended_at || project.id === chooser.value);
  const before = chooser.value;
  chooser.replaceChildren(el("option", { value: "" }, memoryWords().projects.none), ...open.map((project) => el("option", { value: project.id }, project.name)));
  chooser.value = open.some((project) => project.id === before) ? before : "";
  chooser.hidden = !open.length;
}
