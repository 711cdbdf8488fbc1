"use strict";
// Everything that comes from the server is put in as text, never as markup.
const SAY = {
  en: {
    other: "中文", ask: "Recommend", ask_hint: "What are you looking for?", slots: "places kept for new items",
    empty: "Type something, or press Recommend for a list for somebody of whom nothing is known.",
    legend_text: "what its text says", legend_context: "what counts, recency and age say", legend_below: "pale: it takes away",
    whose: "Places in the latest visitor's list:",
    learning: "The model", learn: "Learn now", you: "You", forget: "Be somebody new",
    add: "Add a product", add_title: "Title", add_text: "What it is, in words (optional)", add_button: "Add it",
    token: "This server asks for a token.", take: "I'd take this", events: n => n === 1 ? "1 event" : `${n} events`, fresh: "new",
    version: v => `version ${v}`, size: s => `${s.items} items · ${s.events} events`,
    waiting: (n, w) => `${n} of ${w} events until the next version`, ready: n => `${n} events to learn from`,
    busy: "Learning beside the lists that you see…",
    unknown: p => `${p} % of this text is unknown to the language model's tokenizer: the list says little of it.`,
    visitor: "What you take is counted at once, and learned by the next version.",
    added: t => `“${t}” can be ranked now.`, added_at: (t, r) => `“${t}” is at place ${r} for your text.`,
    added_unknown: "More than half of its text is unknown to the tokenizer.",
    live: v => `Version ${v} is live`, back: "An update was rolled back", seconds: "took", examples: "learned from",
    probe: "nDCG of the probe", loss: "loss", up: "up", down: "down", why: "why", s: x => `${x.toFixed(1)} s`,
    n_events: n => `${n} events`, entered: "entered", failed: "The last update failed: ", wait: "Too much at once: trying again…",
    examples_of: ["space adventure", "romantic comedy", "smartwatch", "detective"],
  },
  zh: {
    other: "English", ask: "推荐", ask_hint: "想找什么？", slots: "为新品保留的位置",
    empty: "输入想找的东西；什么都不输入，则为一无所知的新用户推荐。",
    legend_text: "文字的贡献", legend_context: "次数、新近程度与上架时间的贡献", legend_below: "浅色：减分",
    whose: "最近一位访客的列表中的名次：",
    learning: "模型", learn: "现在学习", you: "您", forget: "换成新用户",
    add: "添加商品", add_title: "标题", add_text: "用文字描述（可选）", add_button: "添加",
    token: "此服务器需要口令。", take: "我要这个", events: n => `${n} 次`, fresh: "新品",
    version: v => `版本 ${v}`, size: s => `${s.items} 件商品 · ${s.events} 次行为`,
    waiting: (n, w) => `距下一版本：${n} / ${w} 次行为`, ready: n => `有 ${n} 次行为可学习`,
    busy: "正在学习，列表照常可用……",
    unknown: p => `这段文字有 ${p}% 是语言模型分词器不认识的，列表几乎无法反映它。`,
    visitor: "您选中的立即计数，下一版本就会学到。",
    added: t => `“${t}”已可参与排序。`, added_at: (t, r) => `“${t}”在您的查询中排第 ${r} 位。`,
    added_unknown: "它的文字有一半以上是分词器不认识的。",
    live: v => `版本 ${v} 已上线`, back: "一次更新被回滚", seconds: "用时", examples: "学习了",
    probe: "探针 nDCG", loss: "损失", up: "上升", down: "下降", why: "原因", s: x => `${x.toFixed(1)} 秒`,
    n_events: n => `${n} 次行为`, entered: "进入", failed: "上次更新失败：", wait: "请求过多，稍后重试……",
    examples_of: ["智能手表", "电影", "足球", "吉他"],
  },
};
const SHOWN = 10, ASKED = 50, POLL = 1200;
const at = id => document.getElementById(id);
const stored = (key, make) => sessionStorage.getItem(key) ?? (sessionStorage.setItem(key, make()), sessionStorage.getItem(key));
const somebody = () => "visitor-" + crypto.getRandomValues(new Uint32Array(2)).join("");
let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let say = SAY[language], visitor = stored("visitor", somebody), answer = null, before = null, status = null, asks = 0, added = [];

function node(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

async function call(path, body) {
  const headers = {"Content-Type": "application/json"}, token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const sent = body === undefined ? {headers} : {headers, method: "POST", body: JSON.stringify(body)};
  const reply = await fetch(path, sent);
  if (reply.status === 401) {
    await new Promise(done => { at("key").onclose = done; at("key").open || at("key").showModal(); });
    sessionStorage.setItem("token", at("token").value.trim());
    return call(path, body);
  }
  if (reply.status === 429 || reply.status === 503) {
    warn(say.wait);
    await new Promise(done => setTimeout(done, 1000 * (Number(reply.headers.get("Retry-After")) || 1)));
    return call(path, body);
  }
  const said = await reply.json();
  if (!reply.ok) throw new Error(typeof said.detail === "string" ? said.detail : JSON.stringify(said.detail));
  return said;
}

function warn(text) {
  at("warning").textContent = text ?? "";
  at("warning").hidden = !text;
}

async function ask(keeps) {
  const number = ++asks, slots = Math.max(0, Math.min(SHOWN, Number(at("slots").value) || 0));
  const text = at("text").value.trim();
  const said = await call("recommend", {text, user: visitor, k: ASKED, slots, also: added});
  if (number !== asks) return;  // another question was asked meanwhile
  before = keeps && answer && answer.text === text ? answer : null;
  answer = {...said, text};
  warn(said.unknown > 0.5 ? say.unknown(Math.round(100 * said.unknown)) : "");
  list();
}

function moved(place) {
  if (!before) return null;
  const old = [...before.places, ...before.also].find(other => other.item === place.item)?.rank;
  if (old === place.rank) return null;
  if (!old || (old > SHOWN && place.rank <= SHOWN)) return ["up", old ? `▲${old - place.rank}` : say.entered];
  return old > place.rank ? ["up", `▲${old - place.rank}`] : ["down", `▼${place.rank - old}`];
}

function bar(value, most, kind) {
  const track = node("span", undefined, "track"), inside = node("i", undefined, kind);
  inside.style.width = `${most ? 100 * Math.abs(value) / most : 0}%`;
  if (value < 0) inside.classList.add("below");
  track.append(inside);
  return track;
}

function list() {
  const first = answer ? answer.places.slice(0, SHOWN) : [], has = new Set(first.map(place => place.item));
  const places = [...first, ...(answer ? answer.also.filter(place => !has.has(place.item)) : [])];
  const most = Math.max(...places.flatMap(p => [Math.abs(p.text ?? 0), Math.abs(p.context ?? 0)]), 0);
  at("list").replaceChildren(...places.map(place => {
    const row = node("li"), rank = node("span", String(place.rank), "rank"), name = node("span", place.title, "name");
    const parts = node("span", undefined, "parts"), button = node("button", say.take), change = moved(place);
    row.dataset.item = place.item;
    if (!has.has(place.item)) row.className = "apart";
    if (change) rank.append(node("small", change[1], change[0]));
    if (change && change[1] === say.entered || added.includes(place.item)) row.classList.add("entered");
    if (place.n <= (status?.shelf ?? 0)) name.append(node("em", say.fresh));
    name.append(node("small", say.events(place.n)));
    const numbers = [["text", place.text], ["context", place.context]].filter(([, value]) => value !== null);
    numbers.forEach(([kind, value], line) => {
      parts.append(bar(value, most, kind));
      if (!line) parts.append(node("b", place.score.toFixed(2)));
    });
    parts.title = numbers.map(([kind, value]) => `${say["legend_" + kind]}: ${value.toFixed(2)}`).join(" + ");
    button.type = "button";
    button.onclick = () => tried(() => take(place), button);
    row.append(rank, name, parts, button);
    return row;
  }));
  at("empty").hidden = places.length > 0;
  at("legend").hidden = places.length === 0;
}

async function take(place) {
  const shown = answer.places.slice(0, SHOWN).map(other => other.item);
  const said = await call("feedback", {request: answer.request, items: [place.item], user: visitor, shown});
  const row = node("li");
  row.append(node("span", place.title), node("span", say.events(said.n[place.item])));
  at("taken").prepend(row);
  await Promise.all([ask(true), look()]);
}

async function add() {
  const title = at("title").value.trim(), text = at("about").value.trim();
  const said = await call("items", {id: `added-${Date.now().toString(36)}`, title, text: text ? `${title} | ${text}` : title});
  at("title").value = at("about").value = "";
  if (!answer) at("text").value = title;
  added = [...added, said.item].slice(-10);
  await ask(true);
  const rank = answer.also.find(place => place.item === said.item)?.rank;
  at("added").textContent = [rank ? say.added_at(title, rank) : say.added(title), said.unknown > 0.5 ? say.added_unknown : ""].join(" ");
  await look();
}

async function look() {
  const old = status?.version;
  status = await call("status");
  tell();
  if (old !== undefined && status.version !== old && answer) await ask(true);
}

function tell() {
  at("run").textContent = `${status.run} · ${status.data}`;
  at("version").textContent = say.version(status.version);
  at("size").textContent = say.size(status);
  const {waiting, window: all, learning, last_update: last} = status, byWindow = status.trigger === "every_window";
  at("waiting").textContent = learning ? say.busy : byWindow ? say.waiting(waiting, all) : say.ready(waiting);
  at("waiting").closest(".card").classList.toggle("busy", learning);
  at("progress").style.width = `${learning ? 100 : byWindow ? Math.min(100, 100 * waiting / all) : waiting ? 100 : 0}%`;
  at("learn").disabled = learning || !waiting;
  at("failure").hidden = !status.failure;
  at("failure").textContent = say.failed + status.failure;
  at("update").hidden = !last;
  if (!last) return;
  at("update_title").textContent = last.rolled_back ? say.back : say.live(last.version);
  const arrow = (a, b, digits) => a === null ? "–" : `${a.toFixed(digits)} → ${b === null ? "–" : b.toFixed(digits)}`;
  const facts = [
    [say.seconds, say.s(last.seconds)], [say.examples, say.n_events(last.n_events)],
    [say.probe, arrow(last.probe_before, last.probe_after, 4)], [say.loss, arrow(last.loss_before, last.loss_after, 2)],
    ...(last.why ? [[say.why, last.why]] : []),
  ];
  at("update_facts").replaceChildren(...facts.flatMap(([name, value]) => [node("dt", name), node("dd", value)]));
  at("moves").replaceChildren(...["up", "down"].flatMap(way => last[way].length === 0 ? [] : [
    node("h3", say[way]),
    ...last[way].map(([, title, from, to]) => {
      const row = node("div");
      row.append(node("span", title), node("span", `${from} → ${to}`, way));
      return row;
    }),
  ]));
}

async function tried(work, button) {
  if (button) button.disabled = true;
  try { await work(); } catch (error) { warn(error.message); } finally { if (button) button.disabled = false; }
}

function speak() {
  say = SAY[language];
  document.documentElement.lang = language;
  document.querySelectorAll("[data-say]").forEach(one => { one.textContent = say[one.dataset.say]; });
  document.querySelectorAll("[data-hint]").forEach(one => { one.placeholder = say[one.dataset.hint]; one.setAttribute("aria-label", say[one.dataset.hint]); });
  at("language").textContent = say.other;
  at("visitor").textContent = say.visitor;
  at("examples").replaceChildren(...say.examples_of.map(text => {
    const chip = node("button", text);
    chip.type = "button";
    chip.onclick = () => { at("text").value = text; tried(() => ask(false)); };
    return chip;
  }));
  if (status) tell();
  list();
}

at("ask").onsubmit = event => { event.preventDefault(); tried(() => ask(false)); };
at("slots").onchange = () => answer && tried(() => ask(true));
at("add").onsubmit = event => { event.preventDefault(); tried(add); };
at("learn").onclick = () => tried(async () => { await call("update", {}); await look(); });
at("forget").onclick = () => { visitor = somebody(); sessionStorage.setItem("visitor", visitor); at("taken").replaceChildren(); answer && tried(() => ask(false)); };
at("language").onclick = () => { language = language === "en" ? "zh" : "en"; localStorage.setItem("language", language); speak(); };
speak();
tried(look);
setInterval(() => document.hidden || at("key").open || look().catch(() => {}), POLL);
