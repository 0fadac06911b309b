// What the person decided and the service does not have yet. It is delivered in order, tried again while the service is
// away, and kept over a reload of the page. The service takes a repeated answer once.

import { CallError, pause } from "./calls.js";

const FIRST = 500;
const MOST = 5_000;
const BARRING = 10; // tries after which an answer that fails lets the others go first; it is never given up

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export class Outbox {
  constructor(call, name, tell) {
    this.call = call;
    this.key = `tidemark-outbox:${name}`;
    this.tell = tell; // {delivered(item, answer), refused(item, error), changed(item, change, answer), unchanged(item, error), away(since), back(), ended()}
    this.items = this.#kept();
    this.running = false;
    this.ended = false;
  }

  get size() {
    return this.items.length;
  }

  add(item) {
    this.items.push(item);
    this.#keep();
    this.deliver();
  }

  // Change or take back a decision: {id, annotation_id, name, kind}, behind its answer. True: that has not arrived yet.
  amend(decision, change) {
    let item = this.items.find((each) => each.id === decision.id);
    if (item === undefined) {
      const { id, annotation_id, name, kind } = decision;
      item = { id, annotation_id, name, kind };
      this.items.push(item);
    }
    item.change = change; // {label: null takes it back, text, bulk}; the last one counts
    const behind = item.annotation_id === undefined;
    this.#keep();
    this.deliver();
    return behind;
  }

  async deliver() {
    if (this.running || this.ended) return;
    this.running = true;
    let wait = FIRST;
    let since = null;
    const back = () => {
      if (since !== null) this.tell.back();
      since = null;
      wait = FIRST;
    };
    while (this.items.length > 0) {
      const item = this.items[0];
      try {
        if (item.annotation_id === undefined) {
          const { event_id, token, kind, label, text, others = [], bulk = "" } = item;
          const answer = await this.call("label/decide", { event_id, token, kind, label, text, others, bulk });
          back();
          item.annotation_id = answer.annotation_id;
          this.tell.delivered(item, answer);
        }
        await this.#changed(item, back);
        this.#remove(item);
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (error.ended) {
          this.ended = true;
          this.tell.ended();
          break;
        }
        if (!error.away) {
          back();
          this.#remove(item);
          if (item.annotation_id === undefined) this.tell.refused(item, error);
          else this.tell.unchanged(item, error);
          continue;
        }
        if (error.status !== 0 && error.status !== 429) this.#letOthersGoFirst(item);
        since ??= Date.now();
        this.tell.away(since);
        await pause(wait);
        wait = Math.min(2 * wait, MOST);
      }
    }
    this.running = false;
  }

  #letOthersGoFirst(item) {
    item.tries = (item.tries ?? 0) + 1;
    if (item.tries >= BARRING) this.items.push(this.items.shift());
    this.#keep();
  }

  // What the person changed while the answer was on its way is told behind it, before anything else.
  async #changed(item, back) {
    while (item.change !== undefined) {
      const change = item.change;
      const before = (item.tried ?? []).filter((each) => !same(each, change));
      item.tried = [...before, change];
      this.#keep();
      let taken = change;
      let told;
      try {
        told = await this.#amend(item, change);
      } catch (error) {
        if (!(error instanceof CallError) || error.reason !== "KEY_REUSED") throw error;
        [taken, told] = await this.#takenBefore(item, before, error);
      }
      back();
      item.annotation_id = told.annotation_id;
      delete item.tried;
      if (same(item.change, taken)) delete item.change;
      this.tell.changed(item, taken, told);
    }
  }

  #amend(item, change) {
    return this.call("label/amend", { annotation_id: item.annotation_id, ...change });
  }

  // The one of the changes that failed which was taken all the same: the service says the same of it again.
  async #takenBefore(item, changes, refusal) {
    for (const change of changes) {
      try {
        return [change, await this.#amend(item, change)];
      } catch (error) {
        if (!(error instanceof CallError) || error.reason !== "KEY_REUSED") throw error;
      }
    }
    throw refusal;
  }

  #remove(item) {
    this.items = this.items.filter((each) => each !== item);
    this.#keep();
  }

  #keep() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.items));
    } catch {
      // storage is full or switched off: the page itself still holds them
    }
  }

  #kept() {
    try {
      const items = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
      return Array.isArray(items) ? items : [];
    } catch {
      return [];
    }
  }
}
