/* Loaded before the C library (LD_PRELOAD): counts a process's changing calls below one folder, over all of its
 * threads together, and makes one of them fail, or be the last thing that the process does.
 *
 * WATCH_BELOW   folders, separated by colons
 * WATCH_LOG     file to which each call is written, "name path" a line
 * WATCH_CALL, WATCH_AT    the call of that name to hit, counted from 1
 * WATCH_ERRNO   what it fails with; 0: the process is killed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long counted;

static int below(const char *path) {
    const char *folders = getenv("WATCH_BELOW");
    while (folders && *folders) {
        size_t size = strcspn(folders, ":");
        if (size && !strncmp(path, folders, size) && (!path[size] || path[size] == '/')) return 1;
        folders += size + (folders[size] == ':');
    }
    return 0;
}

static void path_of(int fd, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, into, PATH_MAX - 1);
    into[size < 0 ? 0 : size] = 0;
}

/* Whether this call is the one to fail; errno says how. */
static int hit(const char *call, int folder, const char *name) {
    int before = errno;
    char path[2 * PATH_MAX + 2] = "";
    if (!name) path_of(folder, path);
    else if (*name == '/') snprintf(path, sizeof path, "%s", name);
    else {
        char at[PATH_MAX] = "";
        if (folder == AT_FDCWD) { if (!getcwd(at, sizeof at)) return 0; }
        else path_of(folder, at);
        snprintf(path, sizeof path, "%s/%s", at, name);
    }
    errno = before;
    if (!below(path)) return 0;
    const char *log = getenv("WATCH_LOG");
    if (log) {
        char line[2 * PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%s %s\n", call, path);
        int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) { syscall(SYS_write, fd, line, size); syscall(SYS_close, fd); }
        errno = before;
    }
    const char *wanted = getenv("WATCH_CALL"), *at = getenv("WATCH_AT"), *how = getenv("WATCH_ERRNO");
    if (!wanted || !at || strcmp(wanted, call) || ++counted != atol(at)) return 0;
    if (!how || !atoi(how)) syscall(SYS_kill, getpid(), SIGKILL);
    errno = atoi(how ? how : "5");
    return 1;
}

#define REAL(type, name) static type (*real)() = 0; if (!real) real = (type (*)())dlsym(RTLD_NEXT, name)
#define OPENING(name, plain) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); REAL(int, #name); \
        return flags & O_CREAT && hit(plain, AT_FDCWD, path) ? -1 : real(path, flags, mode); }
#define OPENING_AT(name, plain) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); REAL(int, #name); \
        return flags & O_CREAT && hit(plain, folder, path) ? -1 : real(folder, path, flags, mode); }
#define ON_FILE(type, name, plain, parameters, given) \
    type name parameters { REAL(type, #name); return hit(plain, fd, 0) ? -1 : real given; }

OPENING(open, "openat")
OPENING(open64, "openat")
OPENING_AT(openat, "openat")
OPENING_AT(openat64, "openat")
ON_FILE(ssize_t, write, "write", (int fd, const void *data, size_t size), (fd, data, size))
ON_FILE(ssize_t, pwrite, "pwrite64", (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FILE(ssize_t, pwrite64, "pwrite64", (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FILE(int, fsync, "fsync", (int fd), (fd))
ON_FILE(int, fdatasync, "fdatasync", (int fd), (fd))
ON_FILE(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
ON_FILE(int, ftruncate64, "ftruncate", (int fd, off_t size), (fd, size))

/* What is closed is closed, whatever close() says of it. */
int close(int fd) {
    REAL(int, "close");
    int failed = hit("close", fd, 0), how = errno, done = real(fd);
    if (failed) errno = how;
    return failed ? -1 : done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir"); return hit("mkdirat", AT_FDCWD, path) ? -1 : real(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(int, "mkdirat"); return hit("mkdirat", folder, path) ? -1 : real(folder, path, mode); }
int unlink(const char *path) { REAL(int, "unlink"); return hit("unlinkat", AT_FDCWD, path) ? -1 : real(path); }
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat"); return hit("unlinkat", folder, path) ? -1 : real(folder, path, flags); }
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    REAL(int, "utimensat"); return hit("utimensat", folder, path) ? -1 : real(folder, path, times, flags); }
int futimens(int fd, const struct timespec times[2]) {
    REAL(int, "futimens"); return hit("utimensat", fd, 0) ? -1 : real(fd, times); }
int rename(const char *from, const char *to) {
    REAL(int, "rename"); return hit("renameat2", AT_FDCWD, to) ? -1 : real(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat"); return hit("renameat2", b, to) ? -1 : real(a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(int, "renameat2"); return hit("renameat2", b, to) ? -1 : real(a, from, b, to, flags); }
int link(const char *from, const char *to) {
    REAL(int, "link"); return hit("linkat", AT_FDCWD, to) ? -1 : real(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(int, "linkat"); return hit("linkat", b, to) ? -1 : real(a, from, b, to, flags); }
