/** Prints one line for each test file, with the number of files done, and each failure as soon as it occurs. */
import { DefaultReporter, type TestModule, type TestSpecification } from 'vitest/node';

export default class LineReporter extends DefaultReporter {
  #files = 0;
  #done = 0;

  override onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#files = specifications.length;
    super.onTestRunStart(specifications);
  }

  protected override printTestModule(module: TestModule): void {
    this.#done += 1;
    const count = `${String(this.#done).padStart(String(this.#files).length)}/${this.#files}`;
    const tests = [...module.children.allTests()];
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    const skipped = tests.filter((test) => test.result().state === 'skipped').length;
    const totals = `${tests.length} tests${skipped === 0 ? '' : `, ${skipped} skipped`}, ${seconds} s`;
    if (module.state() === 'failed') {
      this.log(`${count} FAILED ${module.relativeModuleId} (${totals})`);
      super.printTestModule(module);
      for (const test of tests) {
        const { errors } = test.result();
        for (const { message, stack } of errors ?? []) this.log(`\n${test.fullName}\n${stack ?? message}\n`);
      }
    } else {
      this.log(`${count} ${module.relativeModuleId} (${totals})`);
    }
  }
}
