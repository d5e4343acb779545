// The search of the documentation: it reads all chapters once, at the first letter, and lists the sections that have
// all words.

const MOST = 30;
const box = document.querySelector("search");
const input = box.querySelector("input");
const state = box.querySelector("[role=status]");
const list = box.querySelector("ol");
let sections;

/** All sections of a chapter: a heading with what follows it up to the next one. */
async function read(link) {
  const answer = await fetch(link.href);
  if (!answer.ok) throw new Error(`${link.textContent}: ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = [];
  for (const node of page.querySelector("main").children) {
    if (/^H[1-3]$/.test(node.tagName)) {
      const title = node.tagName === "H1" ? node.textContent : `${link.textContent}: ${node.textContent}`;
      found.push({ title, href: `${link.pathname}#${node.id}`, text: "" });
    } else if (found.length > 0 && !node.classList.contains("sections")) {
      found[found.length - 1].text += ` ${node.textContent}`;
    }
  }
  return found.map((section) => ({ ...section, text: section.text.replace(/\s+/g, " ") }));
}

function readAll() {
  const chapters = [...document.querySelectorAll("nav a")];
  sections ??= Promise.all(chapters.map(read)).then((all) => all.flat());
  return sections;
}

/** How well a section fits: 0 if a word is missing, more where words stand in its title. */
function score(section, words) {
  const title = section.title.toLowerCase();
  const text = section.text.toLowerCase();
  let sum = 0;
  for (const word of words) {
    if (title.includes(word)) sum += 10;
    else if (text.includes(word)) sum += 1;
    else return 0;
  }
  return sum;
}

function item(section, word) {
  const entry = document.createElement("li");
  const link = document.createElement("a");
  link.href = section.href;
  link.textContent = section.title;
  const at = Math.max(0, section.text.toLowerCase().indexOf(word) - 50);
  const part = document.createElement("span");
  part.textContent = `${at > 0 ? "…" : ""}${section.text.slice(at, at + 140).trim()}…`;
  entry.append(link, part);
  return entry;
}

async function search() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) {
    state.textContent = "";
    list.replaceChildren();
    return;
  }
  state.textContent = "reading…";
  let all;
  try {
    all = await readAll();
  } catch (error) {
    sections = undefined;
    state.textContent = `The chapters can not be read (${error.message}). Is the server running? Type on to try again.`;
    return;
  }
  const scored = all.map((section) => [score(section, words), section]).filter(([points]) => points > 0);
  scored.sort(([a], [b]) => b - a);
  state.textContent = scored.length === 1 ? "1 section" : `${scored.length} sections`;
  list.replaceChildren(...scored.slice(0, MOST).map(([, section]) => item(section, words[0])));
}

box.hidden = false;
input.addEventListener("input", search);
