// A disk that fails. Loaded before the C library (LD_PRELOAD), it counts what a program does to files below $FAULTS_UNDER and, at
// operation $FAULTS_AT, does what $FAULTS_DO says:
//   kill    the process is killed; a write is torn: its first half is in the file
//   power   the power goes: killed, and what no fsync made durable is lost (contents that were not synced; files, folders and
//           renames whose folder was not)
//   enospc  the disk is full from here on: half of the first write, then nothing more
//   eio     this operation alone fails
// Each operation is a line of $FAULTS_LOG: its number, its name, its path. What is lost goes to the folder $FAULTS_LOST. With
// $FAULTS_READS only opening and reading count. The operations are done by system calls, so nothing here calls itself.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST = 4096 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long count, at;
static const char *under, *mode, *lost;
static bool counts_reads;
static int log_fd = -1;

// A file with contents that no fsync made durable, and how long it was at the last one.
static struct { dev_t dev; ino_t ino; int fd; off_t size; } dirty[MOST];
// What happened to names since their folder was synced: `new` appeared, from `old` if that is not empty.
static struct { char old[PATH_MAX], new[PATH_MAX]; } named[MOST];
static int num_dirty, num_named;

__attribute__((constructor)) static void start(void) {
  under = getenv("FAULTS_UNDER");
  mode = getenv("FAULTS_DO");
  lost = getenv("FAULTS_LOST");
  counts_reads = getenv("FAULTS_READS");
  at = getenv("FAULTS_AT") ? atol(getenv("FAULTS_AT")) : 0;
  if (getenv("FAULTS_LOG"))
    log_fd = syscall(SYS_openat, AT_FDCWD, getenv("FAULTS_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static bool does(const char *what) { return mode && !strcmp(mode, what); }

static void path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

static void path_at(int dir, const char *name, char *path) {
  char folder[PATH_MAX] = "";
  if (name[0] != '/' && dir != AT_FDCWD) path_of(dir, folder);
  snprintf(path, PATH_MAX, "%s%s%s", folder, *folder ? "/" : "", name);
}

static void lose_what_is_not_durable(void) {
  for (int i = 0; i < num_dirty; i++) syscall(SYS_ftruncate, dirty[i].fd, dirty[i].size);
  for (int i = num_named - 1; i >= 0; i--) {
    char to[PATH_MAX + 32];
    if (*named[i].old) snprintf(to, sizeof to, "%s", named[i].old);
    else snprintf(to, sizeof to, "%s/%ld-%d", lost, (long)getpid(), i);
    syscall(SYS_rename, named[i].new, to);
  }
}

static void die(void) {
  if (does("power")) lose_what_is_not_durable();
  syscall(SYS_kill, getpid(), SIGKILL);
}

// Counts an operation; the error that it must fail with, or 0. Called with the mutex held.
static int fault(const char *name, const char *path, bool reads, bool takes_space) {
  if (!under || strncmp(path, under, strlen(under)) || reads != counts_reads) return 0;
  count++;
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%ld %s %s\n", count, name, path + strlen(under));
  if (log_fd >= 0) syscall(SYS_write, log_fd, line, length);
  if (!at || count < at) return 0;
  if (does("enospc")) return takes_space ? ENOSPC : 0;
  if (count > at) return 0;
  if (does("eio")) return EIO;
  // A write is killed half-way, by its own code.
  if (strcmp(name, "write")) die();
  return 0;
}

static long result(int error, long done) {
  if (error) errno = error;
  return error ? -1 : done;
}

static void appeared(const char *old, const char *new) {
  if (!does("power") || !under || strncmp(new, under, strlen(under)) || num_named == MOST) return;
  snprintf(named[num_named].old, PATH_MAX, "%s", old);
  snprintf(named[num_named++].new, PATH_MAX, "%s", new);
}

static bool exists(const char *path) { return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0; }

static int do_open(int dir, const char *name, int flags, mode_t permissions) {
  char path[PATH_MAX];
  path_at(dir, name, path);
  bool creates = flags & O_CREAT, reads = (flags & O_ACCMODE) == O_RDONLY;
  pthread_mutex_lock(&mutex);
  int error = creates || reads ? fault(creates ? "create" : "open", path, !creates, creates) : 0;
  bool is_new = creates && !error && !exists(path);
  int fd = error ? -1 : (int)syscall(SYS_openat, dir, name, flags, permissions);
  if (is_new && fd >= 0) appeared("", path);
  pthread_mutex_unlock(&mutex);
  if (error) errno = error;
  return fd;
}

#define PERMISSIONS(flags) \
  mode_t permissions = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); permissions = va_arg(more, mode_t); va_end(more); }

int open(const char *name, int flags, ...) { PERMISSIONS(flags) return do_open(AT_FDCWD, name, flags, permissions); }
int open64(const char *name, int flags, ...) { PERMISSIONS(flags) return do_open(AT_FDCWD, name, flags, permissions); }
int openat(int dir, const char *name, int flags, ...) { PERMISSIONS(flags) return do_open(dir, name, flags, permissions); }
int openat64(int dir, const char *name, int flags, ...) { PERMISSIONS(flags) return do_open(dir, name, flags, permissions); }

ssize_t read(int fd, void *bytes, size_t length) {
  char path[PATH_MAX];
  path_of(fd, path);
  pthread_mutex_lock(&mutex);
  int error = fault("read", path, true, false);
  pthread_mutex_unlock(&mutex);
  return result(error, error ? -1 : syscall(SYS_read, fd, bytes, length));
}

static void remember_as_dirty(int fd) {
  struct stat found;
  if (!does("power") || num_dirty == MOST || fstat(fd, &found)) return;
  for (int i = 0; i < num_dirty; i++)
    if (dirty[i].dev == found.st_dev && dirty[i].ino == found.st_ino) return;
  dirty[num_dirty].dev = found.st_dev;
  dirty[num_dirty].ino = found.st_ino;
  dirty[num_dirty].size = found.st_size;
  dirty[num_dirty++].fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  char path[PATH_MAX];
  path_of(fd, path);
  pthread_mutex_lock(&mutex);
  long before = count;
  int error = fault("write", path, false, true);
  bool counted = count > before;
  if (counted && !error) remember_as_dirty(fd);
  bool torn = counted && count == at && (error == ENOSPC || does("kill") || does("power"));
  ssize_t done = error && !torn ? -1 : syscall(SYS_write, fd, bytes, torn ? length / 2 : length);
  if (torn && !error) die();
  pthread_mutex_unlock(&mutex);
  if (error && (!torn || !done)) { errno = error; return -1; }
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int num_parts) { return num_parts ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0; }

static int do_sync(long call, int fd) {
  char path[PATH_MAX];
  struct stat found;
  path_of(fd, path);
  pthread_mutex_lock(&mutex);
  int error = fault("fsync", path, false, false);
  long done = error ? -1 : syscall(call, fd);
  for (int i = 0; !done && !fstat(fd, &found) && i < num_dirty; i++) {
    if (dirty[i].dev != found.st_dev || dirty[i].ino != found.st_ino) continue;
    syscall(SYS_close, dirty[i].fd);
    dirty[i--] = dirty[--num_dirty];
  }
  int kept = 0;
  for (int i = 0; !done && i < num_named; i++) {
    const char *name = strrchr(named[i].new, '/');
    bool is_durable = name && (size_t)(name - named[i].new) == strlen(path) && !strncmp(named[i].new, path, strlen(path));
    if (!is_durable) named[kept++] = named[i];
  }
  if (!done) num_named = kept;
  pthread_mutex_unlock(&mutex);
  return result(error, done);
}

int fsync(int fd) { return do_sync(SYS_fsync, fd); }
int fdatasync(int fd) { return do_sync(SYS_fdatasync, fd); }

int rename(const char *old, const char *new) {
  pthread_mutex_lock(&mutex);
  int error = fault("rename", new, false, false);
  // What a file replaces is lost with the rename or is not: either is a good state, and it is not simulated.
  bool is_new = !exists(new);
  long done = error ? -1 : syscall(SYS_rename, old, new);
  if (!done && is_new) appeared(old, new);
  pthread_mutex_unlock(&mutex);
  return result(error, done);
}

int mkdir(const char *path, mode_t permissions) {
  pthread_mutex_lock(&mutex);
  int error = exists(path) ? 0 : fault("mkdir", path, false, true);
  long done = error ? -1 : syscall(SYS_mkdir, path, permissions);
  if (!done) appeared("", path);
  pthread_mutex_unlock(&mutex);
  return result(error, done);
}

static int do_remove(int dir, const char *name, int flags) {
  char path[PATH_MAX];
  path_at(dir, name, path);
  pthread_mutex_lock(&mutex);
  int error = fault("remove", path, false, false);
  long done = error ? -1 : syscall(SYS_unlinkat, dir, name, flags);
  pthread_mutex_unlock(&mutex);
  return result(error, done);
}

int unlink(const char *name) { return do_remove(AT_FDCWD, name, 0); }
int unlinkat(int dir, const char *name, int flags) { return do_remove(dir, name, flags); }
int rmdir(const char *name) { return do_remove(AT_FDCWD, name, AT_REMOVEDIR); }

static int do_truncate(int fd, off_t length) {
  char path[PATH_MAX];
  path_of(fd, path);
  pthread_mutex_lock(&mutex);
  int error = fault("truncate", path, false, false);
  long done = error ? -1 : syscall(SYS_ftruncate, fd, length);
  pthread_mutex_unlock(&mutex);
  return result(error, done);
}

int ftruncate(int fd, off_t length) { return do_truncate(fd, length); }
int ftruncate64(int fd, off_t length) { return do_truncate(fd, length); }
