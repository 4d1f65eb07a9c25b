/** Keep a list where the reader is: at its end if it was there, else at the message that is being read. */

const NEAR_END_PX = 40;

export class Scrolling {
  isAtEnd = true;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list Its children are what is read.
   */
  constructor(scroller, list) {
    this.scroller = scroller;
    this.list = list;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    // A card that grows, a window that gets smaller, a composer that gets higher.
    const observer = new ResizeObserver(() => {
      if (this.isAtEnd) this.toEnd();
    });
    observer.observe(list);
    observer.observe(scroller);
  }

  /**
   * Change the list without moving what is read.
   *
   * @param {() => void} change
   */
  hold(change) {
    if (this.isAtEnd) {
      change();
      this.toEnd();
      return;
    }
    const top = this.scroller.getBoundingClientRect().top;
    const read = /** @type {HTMLElement[]} */ ([...this.list.children]).filter(
      (one) => one.getBoundingClientRect().bottom > top,
    );
    const places = read.slice(0, 20).map((one) => ({ one, y: one.getBoundingClientRect().top }));
    change();
    const anchor = places.find(({ one }) => one.isConnected);
    if (anchor !== undefined) this.scroller.scrollTop += anchor.one.getBoundingClientRect().top - anchor.y;
    this.#look();
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.isAtEnd = true;
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.isAtEnd = scrollHeight - scrollTop - clientHeight <= NEAR_END_PX;
  }
}
