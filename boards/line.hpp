// The UART line between a host and the design's pins: 8N1, bit by bit, with the faults of real lines.
//
// Times are in clock cycles of the design, as real numbers, so that a host whose clock is 1.5 % off drifts through the
// device's samples as it does on a table. Faults come from a seeded generator, one per direction.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    // Uniform in [0, 1).
    double operator()() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }

    bool chance(double probability) { return probability > 0 && (*this)() < probability; }

    // Distance to the next event of a Poisson process with `rate` events per unit.
    double distance(double rate) { return rate > 0 ? -std::log1p(-(*this)()) / rate : HUGE_VAL; }

private:
    std::uint64_t state_;
};

// What goes wrong in one direction; rates are probabilities per bit time (ber) or per byte (the others).
struct Faults {
    double ber = 0;       // bit times of inverted level, on a busy line and on an idle one
    double drop = 0;      // bytes lost, as by an adapter's overrun
    double twice = 0;     // bytes doubled
    double stall = 0;     // pauses before a byte, of stall_ms
    double stall_ms = 0;
    double cut = 0;       // the wire opens before a byte, for cut_ms: idle level behind it
    double cut_ms = 0;
    double delay_ms = 0;  // the adapter's latency: bytes reach the line, or the host, so much later
    double jitter = 0;    // edges displaced by up to this fraction of a bit time, either way

    // The field of that name, or null.
    double* field(const std::string& name) {
        const std::map<std::string, double*> fields{
            {"ber", &ber},     {"drop", &drop},         {"double", &twice}, {"stall", &stall},
            {"stall_ms", &stall_ms}, {"cut", &cut}, {"cut_ms", &cut_ms}, {"delay_ms", &delay_ms},
            {"jitter", &jitter}};
        const auto found = fields.find(name);
        return found == fields.end() ? nullptr : found->second;
    }
};

// One direction: its faults, its generator, and the times of what is going wrong now.
class Wire {
public:
    Wire(std::uint64_t seed, double cycles_per_ms) : random_(seed), cycles_per_ms_(cycles_per_ms) {}

    Faults faults;
    std::uint64_t injected = 0;

    // New faults from `cycle` on; `bit` is the length of a bit in cycles.
    void begin(const Faults& now, double cycle, double bit) {
        faults = now;
        bit_ = bit;
        noise_from_ = cycle + random_.distance(faults.ber / bit_);
        noise_until_ = cut_until_ = 0;
    }

    void set_bit(double bit) { bit_ = bit; }

    // Opens the wire.
    void cut(double cycle, double milliseconds) {
        cut_until_ = std::max(cut_until_, cycle + milliseconds * cycles_per_ms_);
        ++injected;
    }

    // What arrives at the far end of the wire while `level` is put on it.
    int operator()(int level, double cycle) {
        if (cycle >= noise_from_) {
            // One bit time long, so that it covers exactly one of the samples that are a bit time apart.
            noise_until_ = noise_from_ + bit_;
            noise_from_ = noise_until_ + random_.distance(faults.ber / bit_);
            ++injected;
        }
        if (cycle < cut_until_) return 1;
        return cycle < noise_until_ ? level ^ 1 : level;
    }

    // Faults of a byte that is about to go; each is counted.
    bool drops() { return hit(faults.drop); }
    bool doubles() { return hit(faults.twice); }
    double delay() const { return faults.delay_ms * cycles_per_ms_; }
    double pause() { return hit(faults.stall) ? faults.stall_ms * cycles_per_ms_ : 0; }
    void may_cut(double cycle) {
        if (random_.chance(faults.cut)) cut(cycle, faults.cut_ms);
    }

    // Displacement of one edge, in cycles.
    double shake() { return faults.jitter > 0 ? (2 * random_() - 1) * faults.jitter * bit_ : 0; }

private:
    bool hit(double probability) {
        const bool is = random_.chance(probability);
        injected += is;
        return is;
    }

    Random random_;
    double cycles_per_ms_, bit_ = 1;
    double noise_from_ = HUGE_VAL, noise_until_ = 0, cut_until_ = 0;
};

// The host's UART and both wires.
class Line {
public:
    Line(double clock_hz, double baud, std::uint64_t seed)
        : to(2 * seed, clock_hz / 1e3), from(2 * seed + 1, clock_hz / 1e3), clock_hz_(clock_hz), nominal_(clock_hz / baud), bit_(nominal_) {}

    std::uint64_t sent = 0, received = 0, framing_errors = 0;
    Wire to, from;

    // The host's nominal rate, from the next bit on.
    void set_baud(double baud) {
        nominal_ = clock_hz_ / baud;
        bit_ = nominal_ / (1 + offset_);
        to.set_bit(bit_);
        from.set_bit(bit_);
    }

    // The host's clock off by `offset` (relative, positive is fast), and the faults of both directions, from `cycle` on; what
    // is going wrong at the moment ends.
    void set(double offset, const Faults& to_now, const Faults& from_now, std::uint64_t cycle) {
        offset_ = offset;
        bit_ = nominal_ / (1 + offset);
        pause_until_ = held_until_ = 0;
        to.begin(to_now, double(cycle), bit_);
        from.begin(from_now, double(cycle), bit_);
    }

    // Whether bytes are on the line to the device, or wait for it.
    bool sending() const { return left_ > 0 || !to_device_.empty(); }
    std::size_t waiting() const { return to_device_.size(); }

    // Bytes that the host writes in this cycle.
    void write(const std::uint8_t* data, std::size_t size, std::uint64_t cycle) {
        const double at = double(cycle) + to.delay();
        for (std::size_t i = 0; i < size; ++i) to_device_.push_back({at, data[i]});
    }

    // Bytes that the host may have now: at most `size` of them; they stay until `take`.
    std::size_t peek(std::uint8_t* data, std::size_t size, std::uint64_t cycle) const {
        if (double(cycle) < held_until_) return 0;  // the adapter stalls
        std::size_t n = 0;
        while (n < size && n < from_device_.size() && double(cycle) >= from_device_[n].at) data[n] = from_device_[n].value, ++n;
        return n;
    }
    void take(std::size_t count) { from_device_.erase(from_device_.begin(), from_device_.begin() + std::ptrdiff_t(count)); }
    std::size_t arrived() const { return from_device_.size(); }

    // Forgets what is not on the wires.
    void clear() { to_device_.clear(), from_device_.clear(); }

    // Level of rx in this cycle.
    int drive(std::uint64_t cycle) {
        const double now = double(cycle);
        while (left_ > 0 && now >= edge_) {
            frame_ >>= 1;
            if (--left_ == 0) ++sent;
            else edge_ = start_ + (11 - left_) * bit_ + to.shake();
        }
        if (left_ == 0 && !to_device_.empty() && now >= pause_until_ && now >= to_device_.front().at) next_byte(now);
        return to(left_ > 0 ? int(frame_ & 1) : 1, now);
    }

    // Takes the level of tx after this cycle's clock edge.
    void sample(int pin, std::uint64_t cycle) {
        const double now = double(cycle);
        const int level = from(pin, now);
        if (take_ == 0) {
            if (level == 0 && last_ == 1) {
                take_ = 1;
                take_start_ = now;
                take_next_ = now + 0.5 * bit_;
            }
        } else if (now >= take_next_) {
            if (take_ == 1) {
                if (level != 0) take_ = -1;  // a glitch
            } else if (take_ <= 9) {
                data_ = std::uint8_t(data_ >> 1 | level << 7);
            } else {
                if (level == 0) ++framing_errors;
                else take_byte(now);
                take_ = -1;
            }
            ++take_;
            take_next_ = take_start_ + (take_ - 0.5) * bit_ + from.shake();
        }
        last_ = level;
    }

    // A power cut in mid-byte: the line from the device is idle again.
    void reset() { take_ = 0, last_ = 1; }

private:
    struct Byte {
        double at;  // not before this cycle
        std::uint8_t value;
    };

    void next_byte(double now) {
        to.may_cut(now);
        if (to.drops()) {
            to_device_.pop_front();
            ++sent;
            return;
        }
        if (const double pause = to.pause(); pause > 0) {
            pause_until_ = now + pause;
            return;
        }
        frame_ = 0x200u | (unsigned(to_device_.front().value) << 1);  // stop bit, data, start bit
        if (!to.doubles()) to_device_.pop_front();
        left_ = 10;
        // Back to back without a gap: the fraction of a cycle by which the last stop bit ended is not lost.
        const double end = start_ + 10 * bit_;
        start_ = now - end < 1 ? end : now;
        edge_ = start_ + bit_ + to.shake();
    }

    void take_byte(double now) {
        ++received;
        from.may_cut(now);
        if (from.drops()) return;
        const Byte byte{now + from.delay(), data_};
        from_device_.push_back(byte);
        if (from.doubles()) from_device_.push_back(byte);
        if (const double pause = from.pause(); pause > 0) held_until_ = now + pause;
    }

    std::deque<Byte> to_device_, from_device_;
    double clock_hz_, nominal_, bit_;  // cycles of the host's bit: by its rate, and by its clock as it is
    double offset_ = 0;
    unsigned frame_ = 1;
    int left_ = 0;
    double start_ = -1e9, edge_ = 0, pause_until_ = 0, held_until_ = 0;
    int take_ = 0, last_ = 1;
    std::uint8_t data_ = 0;
    double take_start_ = 0, take_next_ = 0;
};
