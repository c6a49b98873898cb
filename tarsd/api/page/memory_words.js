// What the view of memory says, in each language.

import { language } from "./words.js";

const ENGLISH = {
  sorts: { fact: "fact", instruction: "instruction", preference: "preference" },
  scopes: { household: "household", person: "only me", project: "project" },
  summary: "summary",
  nothing: "Nothing is remembered yet.",
  nothingFound: "Nothing is remembered that fits.",
  edit: "Edit",
  save: "Save",
  cancel: "Cancel",
  forget: "Forget",
  forgetSure: "Forget this for good, on every computer?",
  yes: "Yes, forget it",
  evidence: "Where it was learned",
  conversation: (id) => `a conversation (${id})`,
  document: (file) => `document ${file}`,
  made: (by, when) => `by ${{ person: "a person", automatic: "TARS", nightly: "a nightly job", import: "an import" }[by] ?? by}, ${when}`,
  replaced: "something newer took its place",
  copies: (n) => (n === 1 ? "on 1 computer" : `on ${n} computers`),
  receipt: "Forgotten. This was removed:",
  removed: (node, state, n) => `${node}: ${{ done: `${n} texts gone`, pending: "switched off, obeys at its return", failed: "failed" }[state]}`,
  backups: (files) => `still in backups until they are pruned: ${files}`,
  whole: "Every computer has obeyed.",
  notWhole: "Not yet everywhere.",
  more: "Show more",
  projects: { none: "no project", began: "began", ended: "ended", end: "Finish", add: "Begin a project", hint: "Name of a project…", empty: "There are no projects." },
  counts: (memories, summaries) => `${memories} memories, ${summaries} summaries`,
  diary: { empty: "The nightly jobs have changed nothing so far.", undo: "Undo", undone: "undone", done: (n) => `${n} records are back.`, kept: "Changed or forgotten since, left as it is:" },
  imported: (found) => `${found.new} taken in, ${found.known} known already, ${found.refused} refused.`,
  importCut: "The file was cut off: its last line is missing.",
  line: (error) => `line ${error.line}: ${error.field}: ${error.reason}`,
  lost: "The computer does not answer.",
  used: (n) => (n === 1 ? "1 memory" : `${n} memories`),
};

const SPANISH = {
  sorts: { fact: "hecho", instruction: "instrucción", preference: "preferencia" },
  scopes: { household: "hogar", person: "solo yo", project: "proyecto" },
  summary: "resumen",
  nothing: "Aún no se recuerda nada.",
  nothingFound: "No se recuerda nada que encaje.",
  edit: "Editar",
  save: "Guardar",
  cancel: "Cancelar",
  forget: "Olvidar",
  forgetSure: "¿Olvidarlo para siempre, en todos los ordenadores?",
  yes: "Sí, olvidarlo",
  evidence: "Dónde se aprendió",
  conversation: (id) => `una conversación (${id})`,
  document: (file) => `documento ${file}`,
  made: (by, when) => `por ${{ person: "una persona", automatic: "TARS", nightly: "una tarea nocturna", import: "una importación" }[by] ?? by}, ${when}`,
  replaced: "algo más nuevo ocupó su lugar",
  copies: (n) => (n === 1 ? "en 1 ordenador" : `en ${n} ordenadores`),
  receipt: "Olvidado. Se ha borrado:",
  removed: (node, state, n) => `${node}: ${{ done: `${n} textos borrados`, pending: "apagado, obedece cuando vuelva", failed: "fallido" }[state]}`,
  backups: (files) => `sigue en copias de seguridad hasta que se eliminen: ${files}`,
  whole: "Han obedecido todos los ordenadores.",
  notWhole: "Aún no en todas partes.",
  more: "Mostrar más",
  projects: { none: "sin proyecto", began: "empezó", ended: "acabó", end: "Terminar", add: "Empezar un proyecto", hint: "Nombre de un proyecto…", empty: "No hay proyectos." },
  counts: (memories, summaries) => `${memories} recuerdos, ${summaries} resúmenes`,
  diary: { empty: "Las tareas nocturnas no han cambiado nada hasta ahora.", undo: "Deshacer", undone: "deshecho", done: (n) => `Han vuelto ${n} registros.`, kept: "Cambiado u olvidado después, dejado como está:" },
  imported: (found) => `${found.new} incorporadas, ${found.known} ya conocidas, ${found.refused} rechazadas.`,
  importCut: "El archivo está cortado: le falta la última línea.",
  line: (error) => `línea ${error.line}: ${error.field}: ${error.reason}`,
  lost: "El ordenador no responde.",
  used: (n) => (n === 1 ? "1 recuerdo" : `${n} recuerdos`),
};

const TABLES = { en: ENGLISH, es: SPANISH };

export const memoryWords = () => TABLES[language()];

/** Return the day of a time in seconds since 1970, as the reader's language writes it. */
export const day = (at) => (at ? new Date(at * 1000).toLocaleDateString(language()) : "");
