// Turns the clock of bench.v under Verilator.
#include "Vbench.h"
#include "verilated.h"

int main() {
  VerilatedContext context;
  context.randReset(2);
  Vbench bench{&context};
  while (!context.gotFinish()) {
    bench.clk = !bench.clk;
    bench.eval();
  }
  bench.final();
  return 0;
}
