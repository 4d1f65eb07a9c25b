/** Work that is done in the order in which it came; what fails does not keep the rest from being done. */
export class Queue {
  /** @type {Promise<unknown>} */
  #tail = Promise.resolve();

  /**
   * @template Answer
   * @param {() => Promise<Answer>} act
   * @returns {Promise<Answer>}
   */
  run(act) {
    const done = this.#tail.then(act);
    this.#tail = done.catch(() => {});
    return done;
  }
}
