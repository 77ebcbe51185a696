// The same bench as engine_bench.v for Verilator, without its scheduler: requests on standard input, answers on standard output.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

// Verilator writes two underscores in a name as ___05F.
int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vtop top{&context};
    uint64_t cycle = 0, waited = 0;
    unsigned sent = 0, got = 0, n_in = 0, n_out = 0;
    std::vector<uint8_t> answer;

    auto tick = [&] {
        top.eval();
        if (top.i___05Fvalid && top.i___05Fready) ++sent, waited = 0;
        if (top.o___05Fvalid && top.o___05Fready) answer.push_back(top.o___05Fpayload), ++got, waited = 0;
        ++waited;
        ++cycle;
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    };

    top.clk = 0;
    top.rst = 1;
    top.reset = 0;
    top.i___05Fvalid = top.o___05Fready = 0;
    top.i___05Fpayload = 0;
    for (int n = 0; n < 4; ++n) tick();
    top.rst = 0;
    while (std::scanf("%u %u", &n_in, &n_out) == 2) {
        std::vector<uint8_t> data(n_in);
        for (auto& byte : data) {
            unsigned value = 0;
            if (std::scanf("%x", &value) != 1) return 1;
            byte = uint8_t(value);
        }
        sent = got = 0;
        waited = 0;
        answer.clear();
        while ((sent < n_in || got < n_out) && waited < PATIENCE) {
            top.i___05Fvalid = sent < n_in;
            top.i___05Fpayload = sent < n_in ? data[sent] : 0;
            top.o___05Fready = got < n_out;
            tick();
        }
        top.i___05Fvalid = top.o___05Fready = 0;
        for (int n = 0; n < SLACK; ++n) tick();
        for (uint8_t byte : answer) std::printf("%02x", byte);
        std::printf(" %llu\n", static_cast<unsigned long long>(cycle));
        std::fflush(stdout);
    }
    top.final();
    return 0;
}
