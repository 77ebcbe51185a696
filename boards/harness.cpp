// The virtual board: a verilated design whose UART pins are a pseudo-terminal.
//
// Ports used: clk, rx, tx; and, where the design has them, rst, leds, the flash's pins (flash_sck, flash_cs_n, flash_mosi,
// flash_miso) and warmboot with warmboot_image. Everything is at the level of bits on the
// pins: 8N1 at the given baud rate, so a bitstream read back to Verilog runs here exactly as the RTL does.
//
// stdout, one event a line:   port PATH | leds HEX | stats KEY=VALUE ... | flash NOW STORED | boot IMAGE | off | end KEY=VALUE ...
// stdin, one command a line:  stats | reset [CYCLES] | faults KEY=VALUE ... | cut MS | unplug MS | detach | attach |
//                             power [CYCLE] | power work N SHARE | quit
// End of file: quit (the parent has died). `faults` sets all line faults anew (keys: baud, and to.X and from.X for the X of
// Faults in line.hpp), `cut` opens both wires for a time on the line, `unplug` takes the terminal away for a time on the wall;
// `detach` gives it up for good, and `attach` takes another one, whose master side was sent through the socket --socket before.
// `power` cuts the supply, now or in that clock cycle, or when a share of the flash's N-th erasure or program from now on is over:
// the flash is left as it then is. After `boot` and `off` the program ends; whoever
// started it loads the image that was booted into the next one (flash_board.py), which gets the same --terminal, and the flash's
// status register: `flash` says what it is, and what it is after the next power-up.

#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "Vboard.h"
#include "line.hpp"
#include "nor_flash.hpp"
#include "terminal.hpp"
#include "verilated.h"

namespace {

volatile std::sig_atomic_t stop_requested = 0;

void on_signal(int) { stop_requested = 1; }

// --- ports a design may lack: the first overload exists only where the member does -------------------------------

template <class M> auto set_reset(M& m, int value, int) -> decltype((void)(m.rst = value)) { m.rst = value; }
template <class M> void set_reset(M&, int, long) {}

template <class M> auto get_leds(M& m, int) -> decltype((std::uint64_t)m.leds) { return m.leds; }
template <class M> std::uint64_t get_leds(M&, long) { return 0; }

template <class M> auto get_boot(M& m, int) -> decltype(int(m.warmboot_image)) {
    return m.warmboot ? int(m.warmboot_image) : -1;
}
template <class M> int get_boot(M&, long) { return -1; }

// An absent flash's line is pulled up.
template <class M> auto step_flash(M& m, NorFlash* flash, std::uint64_t cycle, int) -> decltype((void)m.flash_miso) {
    m.flash_miso = flash == nullptr ? 1 : flash->step(m.flash_sck, m.flash_cs_n, m.flash_mosi, cycle);
}
template <class M> void step_flash(M&, NorFlash*, std::uint64_t, long) {}

struct Options {
    double clock_hz = 0, baud = 0;
    unsigned seed = 1;
    std::string faults;
    bool pace = false;
    unsigned reset_cycles = 16;
    int terminal = -1, socket = -1;
    std::string flash;
    unsigned flash_id = 0;
    double flash_speed = 1;
    unsigned flash_status = 0, flash_stored = 0;
    double eager = 0;  // seconds of the board's time in which it never waits for somebody to open the port
};

Options parse(int argc, char** argv) {
    Options o;
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        auto value = [&]() -> const char* {
            if (i + 1 >= argc) {
                std::fprintf(stderr, "virtual board: %s must be followed by a value\n", arg.c_str());
                std::exit(2);
            }
            return argv[++i];
        };
        if (arg == "--clock-hz") o.clock_hz = std::atof(value());
        else if (arg == "--baud") o.baud = std::atof(value());
        else if (arg == "--seed") o.seed = unsigned(std::strtoul(value(), nullptr, 10));
        else if (arg == "--faults") o.faults = value();
        else if (arg == "--pace") o.pace = true;
        else if (arg == "--terminal") o.terminal = std::atoi(value());
        else if (arg == "--socket") o.socket = std::atoi(value());
        else if (arg == "--flash") o.flash = value();
        else if (arg == "--flash-id") o.flash_id = unsigned(std::strtoul(value(), nullptr, 16));
        else if (arg == "--flash-speed") o.flash_speed = std::atof(value());
        else if (arg == "--flash-status") o.flash_status = unsigned(std::strtoul(value(), nullptr, 16));
        else if (arg == "--flash-stored") o.flash_stored = unsigned(std::strtoul(value(), nullptr, 16));
        else if (arg == "--eager") o.eager = std::atof(value());
        else {
            std::fprintf(stderr, "virtual board: unknown option %s\n", arg.c_str());
            std::exit(2);
        }
    }
    if (o.clock_hz <= 0 || o.baud <= 0 || o.clock_hz < 2 * o.baud) {
        std::fprintf(stderr, "virtual board: --clock-hz must be at least twice --baud, and both above 0\n");
        std::exit(2);
    }
    return o;
}

class Board {
public:
    explicit Board(const Options& options)
        : options_(options), terminal_(options.terminal), line_(options.clock_hz, options.baud, options.seed) {
        if (!options.flash.empty()) {
            flash_ = std::make_unique<NorFlash>(options.clock_hz, options.flash_speed, options.flash_id, options.seed);
            flash_->set_status(options.flash_status, options.flash_stored);
            const std::string wrong = flash_->open(options.flash);
            if (!wrong.empty()) {
                std::fprintf(stderr, "virtual board: %s\n", wrong.c_str());
                std::exit(4);
            }
        }
        context_.randReset(2);  // what has no initial value starts random, as in a real chip
        context_.randSeed(int(options.seed));
        model_ = std::make_unique<Vboard>(&context_, "board");
        started_ = Clock::now();
    }

    int run() {
        reset(options_.reset_cycles);
        // A bitstream holds its own reset after configuration; a real board is past it before anyone opens its port.
        simulate(1024 + unsigned(options_.clock_hz * kStartSeconds));
        set_faults(options_.faults);
        report_port();
        while (!stop_requested && !context_.gotFinish() && !left_) {
            if (!read_commands()) break;
            plug_again();
            const bool open = terminal_.open();
            exchange(open);
            const bool eager = double(cycle_) < options_.eager * options_.clock_hz;
            const bool busy = eager || open || line_.sending();
            simulate(kChunk);
            report_leds();
            if (!busy) wait(kIdleMs);
            else if (options_.pace) keep_pace();
        }
        if (flash_ && boot_ < 0) flash_->power_cut(cycle_);
        else if (flash_) flash_->finish();
        if (flash_) std::printf("flash %x %x\n", flash_->status(), flash_->stored());
        if (left_) boot_ < 0 ? std::printf("off\n") : std::printf("boot %d\n", boot_);
        model_->final();
        report("end");
        return 0;
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr unsigned kChunk = 4096;               // cycles between looks at the terminal
    static constexpr std::size_t kQueue = 8192;            // bytes taken from the host ahead of the line
    static constexpr std::size_t kOverrun = 1 << 20;       // bytes kept for a host that does not read
    static constexpr double kStartSeconds = 50e-6;         // more than the start-up reset of rtl/clocking.py
    static constexpr int kIdleMs = 10;                     // nobody has the port open: leave the processor alone

    void simulate(unsigned cycles) {
        Vboard& m = *model_;
        for (unsigned i = 0; i < cycles && !left_; ++i) {
            m.rx = line_.drive(cycle_);
            m.clk = 0;
            m.eval();
            m.clk = 1;
            m.eval();
            line_.sample(m.tx, cycle_);
            step_flash(m, flash_.get(), cycle_, 0);
            boot_ = get_boot(m, 0);
            ++cycle_;
            left_ = boot_ >= 0 || cycle_ == off_at_ || (flash_ && flash_->cut_due(cycle_));
        }
    }

    void reset(unsigned cycles) {
        set_reset(*model_, 1, 0);
        simulate(cycles);
        set_reset(*model_, 0, 0);
        line_.reset();
    }

    void exchange(bool open) {
        follow_rate();
        if (line_.waiting() < kQueue) {  // also what a host wrote before it closed the port
            std::uint8_t data[4096];
            line_.write(data, terminal_.read(data, sizeof data), cycle_);
        }
        if (!open) {
            dropped_ += line_.arrived();  // a serial port that nobody has open loses what comes in
            line_.take(line_.arrived());
        }
        std::uint8_t data[1024];
        while (const std::size_t n = line_.peek(data, sizeof data, cycle_)) {
            const std::size_t taken = terminal_.write(data, n);
            line_.take(taken);
            if (taken < n) break;
        }
        if (line_.arrived() > kOverrun) {
            dropped_ += line_.arrived() - kOverrun;
            line_.take(line_.arrived() - kOverrun);
        }
    }

    // All faults anew, from "KEY=VALUE ..."; what is not named is 0.
    void set_faults(const std::string& text) {
        double offset = 0;
        Faults to, from;
        std::istringstream words(text);
        for (std::string word; words >> word;) {
            const auto equals = word.find('=');
            const std::string key = word.substr(0, equals);
            double* target = key == "baud" ? &offset
                           : key.rfind("to.", 0) == 0 ? to.field(key.substr(3))
                           : key.rfind("from.", 0) == 0 ? from.field(key.substr(5)) : nullptr;
            if (target == nullptr || equals == std::string::npos) {
                std::fprintf(stderr, "virtual board: unknown line fault %s\n", word.c_str());
                continue;
            }
            *target = std::strtod(word.c_str() + equals + 1, nullptr);
        }
        line_.set(offset, to, from, cycle_);
    }

    void cut_line(double milliseconds) {
        line_.to.cut(double(cycle_), milliseconds);
        line_.from.cut(double(cycle_), milliseconds);
    }

    void unplug(double milliseconds) {
        terminal_.unplug();
        dropped_ += line_.arrived();
        line_.clear();
        plug_at_ = Clock::now() + std::chrono::microseconds(std::llround(1e3 * milliseconds));
    }

    void detach() {
        terminal_.unplug();
        dropped_ += line_.arrived();
        line_.clear();
        plug_at_ = Clock::time_point::max();
    }

    // The descriptor is already in the socket.
    void attach() {
        char byte, space[CMSG_SPACE(sizeof(int))];
        iovec data{&byte, 1};
        msghdr message{};
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = space;
        message.msg_controllen = sizeof space;
        if (::recvmsg(options_.socket, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) fail("cannot take the pseudo-terminal");
        int fd;
        std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
        terminal_.adopt(fd);
        rate_ = 0;
        report_port();
    }

    void plug_again() {
        if (terminal_.plugged() || Clock::now() < plug_at_) return;
        terminal_.plug();
        report_port();
    }

    // The host sends and samples at the rate it has set its port to, as on a real one.
    void follow_rate() {
        const unsigned baud = terminal_.baud(unsigned(options_.baud));
        if (baud == 0 || baud == rate_) return;
        rate_ = baud;
        line_.set_baud(baud);
    }

    void report_port() {
        follow_rate();
        std::printf("port %s\n", terminal_.path().c_str());
        std::fflush(stdout);
    }

    // False at the end of input.
    bool read_commands() {
        pollfd p{0, POLLIN, 0};
        if (::poll(&p, 1, 0) <= 0) return true;
        char data[256];
        const ssize_t n = ::read(0, data, sizeof data);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
        for (ssize_t i = 0; i < n; ++i) {
            if (data[i] != '\n') {
                command_ += data[i];
                continue;
            }
            const auto space = std::min(command_.find(' '), command_.size());
            const std::string verb = command_.substr(0, space), rest = command_.substr(space);
            if (verb == "quit") return false;
            if (verb == "stats") report("stats");
            else if (verb == "reset") {
                const unsigned long cycles = std::strtoul(rest.c_str(), nullptr, 10);
                reset(cycles ? unsigned(cycles) : options_.reset_cycles);
                report("stats");
            } else if (verb == "faults") {
                set_faults(rest);
                report("stats");
            } else if (verb == "cut") {
                cut_line(std::strtod(rest.c_str(), nullptr));
                report("stats");
            } else if (verb == "unplug") {
                unplug(std::strtod(rest.c_str(), nullptr));
            } else if (verb == "detach") {
                detach();
                report("stats");
            } else if (verb == "attach") {
                attach();
            } else if (verb == "power") {
                std::istringstream words(rest);
                std::string word;
                unsigned long long count = 0;
                double share = 0;
                words >> word;
                if (word == "work" && words >> count >> share && flash_) flash_->cut_in(count, share);
                else if (off_at_ = std::strtoull(word.c_str(), nullptr, 10); off_at_ <= cycle_) left_ = true;
            } else std::fprintf(stderr, "virtual board: unknown command %s\n", command_.c_str());
            command_.clear();
        }
        return true;
    }

    void wait(int ms) {
        pollfd p{0, POLLIN, 0};
        ::poll(&p, 1, ms);
    }

    void keep_pace() {
        const double ahead = double(cycle_) / options_.clock_hz - seconds();
        if (ahead > 0.002) std::this_thread::sleep_for(std::chrono::duration<double>(std::min(ahead, 0.05)));
    }

    void report_leds() {
        const std::uint64_t leds = get_leds(*model_, 0);
        const auto now = Clock::now();
        if (leds == leds_ || now - led_time_ < std::chrono::milliseconds(50)) return;
        leds_ = leds;
        led_time_ = now;
        std::printf("leds %llx\n", static_cast<unsigned long long>(leds));
        std::fflush(stdout);
    }

    double seconds() const { return std::chrono::duration<double>(Clock::now() - started_).count(); }

    void report(const char* kind) {
        std::printf("%s cycles=%llu seconds=%.3f sent=%llu received=%llu framing_errors=%llu dropped=%llu faults=%llu leds=%llu"
                    " erases=%llu programs=%llu ignored=%llu\n",
                    kind, ull(cycle_), seconds(), ull(line_.sent), ull(line_.received), ull(line_.framing_errors),
                    ull(dropped_), ull(line_.to.injected + line_.from.injected), ull(get_leds(*model_, 0)),
                    ull(flash_ ? flash_->erases : 0), ull(flash_ ? flash_->programs : 0), ull(flash_ ? flash_->ignored : 0));
        std::fflush(stdout);
    }

    static unsigned long long ull(std::uint64_t v) { return v; }

    Options options_;
    VerilatedContext context_;
    std::unique_ptr<Vboard> model_;
    std::unique_ptr<NorFlash> flash_;
    Terminal terminal_;
    Line line_;
    std::uint64_t cycle_ = 0, dropped_ = 0, off_at_ = 0, leds_ = ~std::uint64_t{0};
    unsigned rate_ = 0;
    std::string command_;
    bool left_ = false;  // the design booted another image, or the power is off
    int boot_ = -1;
    Clock::time_point started_, led_time_{}, plug_at_{};
};

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);  // a reader of stdout that is gone must not kill the board
    return Board(options).run();
}
