// An SPI NOR flash on the pins of the virtual board, with its times, its content in a file.
//
// Written from the data sheet of Winbond's W25Q128JV and JEDEC JESD216 (SFDP): mode 0; starts in deep power-down, as an iCE40
// leaves it after loading an image packed by icepack; programming only clears bits and wraps inside a page; erasing and
// programming need the write enable latch, take their time, and meanwhile everything but reading the status is ignored;
// protected blocks stay as they are, the protection being that of a W25Q: for good, or until the power goes (command 0x50, which other
// makers' chips do not have). A power cut in the middle leaves a torn page or a half-erased block.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

class NorFlash {
public:
    // Typical times of the data sheet in seconds; tRES1 is the slowest usual one of other makers.
    static constexpr double kPageSeconds = 400e-6, kSectorSeconds = 45e-3, kHalfBlockSeconds = 120e-3, kBlockSeconds = 150e-3,
                            kChipSeconds = 40.0, kStatusSeconds = 10e-3, kWakeSeconds = 35e-6;

    std::uint64_t erases = 0, programs = 0;
    std::uint64_t ignored = 0;  // commands that came while it slept, woke up or was busy, or that were not enabled

    // `speed` divides the times of erasing and programming; 1 is the real chip. `id` are the three bytes of command 0x9F.
    NorFlash(double clock_hz, double speed, std::uint32_t id, unsigned seed)
        : clock_hz_(clock_hz), speed_(speed), id_{std::uint8_t(id >> 16), std::uint8_t(id >> 8), std::uint8_t(id)}, random_(seed) {}

    ~NorFlash() {
        if (data_ != nullptr) ::munmap(data_, size_);
        if (fd_ >= 0) ::close(fd_);
    }

    NorFlash(const NorFlash&) = delete;
    NorFlash& operator=(const NorFlash&) = delete;

    // Maps the file; returns what is wrong with it, or an empty text.
    std::string open(const std::string& path) {
        fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        struct stat facts {};
        if (fd_ < 0 || ::fstat(fd_, &facts) != 0) return "cannot open the flash file " + path;
        if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) return "another virtual board has the flash file " + path;
        size_ = std::size_t(facts.st_size);
        if (size_ < kBlock || (size_ & (size_ - 1)) != 0) return "the size of the flash file " + path + " must be a power of two";
        void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
        if (at == MAP_FAILED) return "cannot map the flash file " + path;
        data_ = static_cast<std::uint8_t*>(at);
        make_sfdp();
        return "";
    }

    // The status register as it is, and as it will be at the next power-up: of a chip that was on before this program started.
    void set_status(unsigned now, unsigned stored) {
        status_ = std::uint8_t(now);
        stored_ = std::uint8_t(stored);
    }
    unsigned status() const { return status_; }
    unsigned stored() const { return stored_; }

    // Once per clock cycle with the levels of the pins; returns the level of its output.
    int step(int sck, int cs_n, int mosi, std::uint64_t cycle) {
        if (cs_n) {
            if (!cs_n_) end(cycle);
        } else if (cs_n_) {
            bits_ = count_ = 0;
            bytes_ = 0;
            taken_.clear();
            page_.clear();
            out_ = 0;
            dead_ = false;
        } else if (sck && !sck_) {
            bits_ = std::uint8_t(bits_ << 1 | (mosi & 1));
            if (++count_ == 8) {
                count_ = 0;
                if (taken_.size() < kKept) taken_.push_back(bits_);
                else if (taken_[0] == 0x02) page_.push_back(bits_);
                ++bytes_;
                byte_in(cycle);
            }
        } else if (!sck && sck_) {
            miso_ = out_ >> 7;
            out_ = std::uint8_t(out_ << 1);
        }
        cs_n_ = cs_n;
        sck_ = sck;
        return miso_;
    }

    bool busy(std::uint64_t cycle) const { return work_ != Work::none && cycle < work_end_; }

    // Asks for a power cut in the n-th erasure or program from now on, when that share of its time is over.
    void cut_in(std::uint64_t n, double share) {
        cut_in_ = n;
        cut_share_ = share;
    }

    bool cut_due(std::uint64_t cycle) const { return cycle >= cut_at_; }

    // Whatever is under way comes to its end: the flash keeps its power while the FPGA loads another image.
    void finish() {
        if (work_ != Work::none) complete();
    }

    // The supply goes away now.
    void power_cut(std::uint64_t cycle) {
        if (busy(cycle)) tear(double(cycle - work_start_) / double(work_end_ - work_start_));
        else finish();
        work_ = Work::none;
    }

private:
    enum class Work { none, program, erase, status };
    static constexpr std::size_t kPage = 256, kSector = 4096, kHalfBlock = 32768, kBlock = 65536;
    static constexpr std::size_t kKept = 5;  // command, address and one byte; the data of a page go to page_
    static constexpr unsigned kBusy = 1, kEnabled = 2, kWinbond = 0xEF;

    std::uint64_t cycles(double seconds) const { return std::uint64_t(seconds * clock_hz_) + 1; }

    std::size_t address() const {
        return (std::size_t(taken_[1]) << 16 | std::size_t(taken_[2]) << 8 | taken_[3]) & (size_ - 1);
    }

    // A whole byte is in: what goes out while the next one comes.
    void byte_in(std::uint64_t cycle) {
        const std::uint8_t command = taken_[0];
        const std::size_t n = bytes_;
        if (n == 1) {
            settle(cycle);
            dead_ = cycle < awake_at_ || (asleep_ && command != 0xAB) || (busy(cycle) && command != 0x05);
            if (dead_) ++ignored;
        }
        if (dead_) return;
        switch (command) {
            case 0x05:
                settle(cycle);
                out_ = std::uint8_t(status_ | (busy(cycle) ? kBusy : 0) | (enabled_ ? kEnabled : 0));
                break;
            case 0x35: out_ = 0x02; break;  // quad enable, as delivered
            case 0x9F: out_ = id_[std::min<std::size_t>(n - 1, 2)]; break;
            case 0xAB: out_ = n >= 4 ? std::uint8_t(id_[2] - 1) : 0; break;
            case 0x03:
                if (n >= 4) out_ = data_[(address() + n - 4) & (size_ - 1)];
                break;
            case 0x0B:
                if (n >= 5) out_ = data_[(address() + n - 5) & (size_ - 1)];
                break;
            case 0x5A:
                if (n >= 5) out_ = sfdp_[(address() + n - 5) & 0xFF];
                break;
            default: break;
        }
    }

    // Chip select rises: what writes begins now, and only behind a whole byte.
    void end(std::uint64_t cycle) {
        miso_ = 0;
        if (dead_ || count_ != 0 || taken_.empty()) return;
        const std::uint8_t command = taken_[0];
        const std::size_t n = bytes_;
        switch (command) {
            case 0xAB:
                if (asleep_) awake_at_ = cycle + cycles(kWakeSeconds);
                asleep_ = false;
                break;
            case 0xB9: asleep_ = true; break;
            case 0x06: enabled_ = true; break;
            case 0x50:
                if (id_[0] == kWinbond) volatile_ = true;
                else ++ignored;
                break;
            case 0x04: enabled_ = false; break;
            case 0x01:
                if (n >= 2 && (enabled_ || volatile_)) start_status(cycle);
                else ++ignored;
                break;
            case 0x02: start_program(cycle, n); break;
            case 0x20: start_erase(cycle, n, kSector, kSectorSeconds); break;
            case 0x52: start_erase(cycle, n, kHalfBlock, kHalfBlockSeconds); break;
            case 0xD8: start_erase(cycle, n, kBlock, kBlockSeconds); break;
            case 0xC7:
            case 0x60:
                taken_ = {command, 0, 0, 0};
                start_erase(cycle, 4, size_, kChipSeconds);
                break;
            default: break;
        }
    }

    void start(Work work, std::uint64_t cycle, double seconds) {
        work_ = work;
        work_start_ = cycle;
        work_end_ = cycle + cycles(seconds / speed_);
        if (cut_in_ != 0 && --cut_in_ == 0) {
            cut_at_ = work_start_ + std::uint64_t(cut_share_ * double(work_end_ - work_start_));
        }
    }

    void start_status(std::uint64_t cycle) {
        next_status_ = taken_[1] & 0xFC;
        if (enabled_) return start(Work::status, cycle, kStatusSeconds);
        status_ = next_status_;
        volatile_ = false;
    }

    void start_program(std::uint64_t cycle, std::size_t n) {
        if (!enabled_ || n < kKept || is_protected(address() & ~(kPage - 1), kPage)) {
            ++ignored;
            return;
        }
        std::vector<std::uint8_t> bytes{taken_[4]};
        bytes.insert(bytes.end(), page_.begin(), page_.end());
        where_ = address() & ~(kPage - 1);
        after_.assign(data_ + where_, data_ + where_ + kPage);
        // of more than a page the last bytes count, and each lands where the wrapped address says
        const std::size_t skip = bytes.size() > kPage ? bytes.size() - kPage : 0;
        for (std::size_t i = skip; i < bytes.size(); ++i) after_[(address() + i) & (kPage - 1)] &= bytes[i];
        ++programs;
        start(Work::program, cycle, kPageSeconds);
    }

    void start_erase(std::uint64_t cycle, std::size_t n, std::size_t size, double seconds) {
        where_ = n == 4 ? address() & ~(size - 1) : 0;
        if (!enabled_ || n != 4 || is_protected(where_, size)) {
            ++ignored;
            return;
        }
        after_.assign(size, 0xFF);
        ++erases;
        start(Work::erase, cycle, seconds);
    }

    // Status bits SEC, TB and BP2 to BP0 protect a power of two of sectors or of 64ths, at the top or at the bottom.
    bool is_protected(std::size_t at, std::size_t size) const {
        const unsigned level = status_ >> 2 & 7;
        if (level == 0) return false;
        if (level == 7) return true;
        const bool small = status_ & 0x40, bottom = status_ & 0x20;
        const std::size_t unit = small ? kSector << std::min(level - 1, 3u) : (size_ / 64) << (level - 1);
        const std::size_t held = std::min(unit, size_);
        return bottom ? at < held : at + size > size_ - held;
    }

    void settle(std::uint64_t cycle) {
        if (work_ != Work::none && cycle >= work_end_) complete();
    }

    void complete() {
        if (work_ == Work::status) status_ = stored_ = next_status_;
        else std::copy(after_.begin(), after_.end(), data_ + where_);
        work_ = Work::none;
        enabled_ = false;
    }

    // A part of the bits got there: programming clears them one by one, erasing first programs all of them and then frees them.
    void tear(double done) {
        if (work_ == Work::status) return;
        const bool freeing = work_ == Work::erase && done >= 0.5;
        const double share = work_ == Work::program ? done : freeing ? 2 * done - 1 : 2 * done;
        std::bernoulli_distribution reached(std::clamp(share, 0.0, 1.0));
        for (std::size_t i = 0; i < after_.size(); ++i) {
            const std::uint8_t from = freeing ? 0x00 : data_[where_ + i];
            const std::uint8_t to = work_ == Work::program ? after_[i] : freeing ? 0xFF : 0x00;
            std::uint8_t mask = 0;
            for (int bit = 0; bit < 8; ++bit) mask = std::uint8_t(mask | int(reached(random_)) << bit);
            data_[where_ + i] = std::uint8_t((from & ~mask) | (to & mask));
        }
    }

    // JESD216: header, one parameter header, and the first eleven words of the basic table.
    void make_sfdp() {
        sfdp_.fill(0xFF);
        const auto put = [this](std::size_t at, std::uint32_t word) {
            for (std::size_t i = 0; i < 4; ++i) sfdp_[at + i] = std::uint8_t(word >> (8 * i));
        };
        put(0x00, 0x50444653);            // "SFDP"
        put(0x04, 0xFF000105);            // revision 1.5, one parameter header
        put(0x08, 0x0B010500);            // basic table, revision 1.5, 11 words
        put(0x0C, 0xFF000080);            // it stands at 0x80
        put(0x80, 0xFF8020E5);            // sectors of 4 KiB erased by 0x20, pages, three address bytes
        put(0x84, std::uint32_t(8 * size_ - 1));
        for (std::size_t word = 2; word < 7; ++word) put(0x80 + 4 * word, 0xFF00FF00);
        put(0x9C, 0x520F200C);            // 4 KiB by 0x20, 32 KiB by 0x52
        put(0xA0, 0x0000D810);            // 64 KiB by 0xD8
        put(0xA4, 0x00A53A23);            // typical erase times: 48, 128 and 160 ms
        put(0xA8, 0x80002683);            // pages of 256 bytes, typically 448 us
    }

    double clock_hz_, speed_;
    std::array<std::uint8_t, 3> id_;
    std::mt19937_64 random_;
    std::array<std::uint8_t, 256> sfdp_{};
    int fd_ = -1;
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;

    bool asleep_ = true, enabled_ = false, volatile_ = false, dead_ = false;
    std::uint8_t status_ = 0, stored_ = 0, next_status_ = 0;
    std::uint64_t awake_at_ = 0;

    int sck_ = 0, cs_n_ = 1, miso_ = 0, count_ = 0;
    std::uint8_t bits_ = 0, out_ = 0;
    std::size_t bytes_ = 0;
    std::vector<std::uint8_t> taken_, page_;

    Work work_ = Work::none;
    std::uint64_t work_start_ = 0, work_end_ = 0, cut_in_ = 0, cut_at_ = ~std::uint64_t{0};
    double cut_share_ = 0;
    std::size_t where_ = 0;
    std::vector<std::uint8_t> after_;
};
