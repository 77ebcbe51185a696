// The pseudo-terminal that stands for a board's serial port.

#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "virtual board: %s: %s\n", what, std::strerror(errno));
    std::exit(4);
}

class Terminal {
public:
    // The master side `fd` if it is one, else one of its own.
    explicit Terminal(int fd) : fd_(fd) {
        if (fd < 0) {
            plug();
            return;
        }
        adopt(fd);
    }

    // Takes a master side over.
    void adopt(int fd) {
        fd_ = fd;
        const char* name = ::ptsname(fd);
        if (name == nullptr) fail("cannot name the pseudo-terminal");
        path_ = name;
        ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
        std::uint8_t lost[4096];
        while (read(lost, sizeof lost) > 0) {}  // what came before power-up
    }

    ~Terminal() { unplug(); }

    // Takes the port away from whoever has it open.
    void unplug() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

    // Makes the port, usually under the name it had before.
    void plug() {
        fd_ = ::posix_openpt(O_RDWR | O_NOCTTY);
        if (fd_ < 0 || ::grantpt(fd_) != 0 || ::unlockpt(fd_) != 0) fail("cannot open a pseudo-terminal");
        const char* name = ::ptsname(fd_);
        if (name == nullptr) fail("cannot name the pseudo-terminal");
        path_ = name;
        // Opened once and closed again: from then on the kernel reports whether anyone has the port open.
        const int slave = ::open(name, O_RDWR | O_NOCTTY);
        if (slave < 0) fail("cannot open the pseudo-terminal's other side");
        termios raw;
        if (::tcgetattr(slave, &raw) != 0) fail("cannot read terminal settings");
        ::cfmakeraw(&raw);
        if (::tcsetattr(slave, TCSANOW, &raw) != 0) fail("cannot set the terminal raw");
        ::close(slave);
        ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
    }

    const std::string& path() const { return path_; }

    bool plugged() const { return fd_ >= 0; }

    // Whether the other side is open now.
    bool open() const {
        if (fd_ < 0) return false;
        pollfd p{fd_, 0, 0};
        ::poll(&p, 1, 0);
        return (p.revents & POLLHUP) == 0;
    }

    // Bytes that the host wrote; 0 when there are none or the port is closed.
    std::size_t read(std::uint8_t* data, std::size_t size) {
        const ssize_t n = fd_ < 0 ? 0 : ::read(fd_, data, size);
        return n > 0 ? static_cast<std::size_t>(n) : 0;
    }

    // How many bytes the host's side took; the rest is to be offered again.
    std::size_t write(const std::uint8_t* data, std::size_t size) {
        const ssize_t n = ::write(fd_, data, size);
        return n > 0 ? static_cast<std::size_t>(n) : 0;
    }

    // The host's line rate, or 0 where the system does not tell it. A pseudo-terminal that nobody has set is at `usual`.
    unsigned baud(unsigned usual) {
#ifdef __linux__
        termios2 now;
        if (fd_ < 0 || ::ioctl(fd_, kGet, &now) != 0) return 0;
        if (now.c_ospeed == kUntouched) {
            now.c_cflag = (now.c_cflag & ~kRateBits) | kOtherRate;
            now.c_ispeed = now.c_ospeed = usual;
            if (::ioctl(fd_, kSet, &now) != 0) return 0;
        }
        return now.c_ospeed;
#else
        (void)usual;
        return 0;
#endif
    }

private:
#ifdef __linux__
    // As the kernel's asm-generic/termbits.h has it, which cannot be included beside termios.h.
    struct termios2 {
        tcflag_t c_iflag, c_oflag, c_cflag, c_lflag;
        cc_t c_line, c_cc[19];
        speed_t c_ispeed, c_ospeed;
    };
    static constexpr unsigned long kGet = _IOR('T', 0x2A, termios2), kSet = _IOW('T', 0x2B, termios2);
    static constexpr tcflag_t kRateBits = 0x100F, kOtherRate = 0x1000;  // CBAUD and BOTHER
    static constexpr speed_t kUntouched = 38400;
#endif
    int fd_ = -1;
    std::string path_;
};
