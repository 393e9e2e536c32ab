/* Keeps, beside a folder in use, what a disk would still hold of it if the power went: what was synced, and nothing else.
 *
 * Preloaded into a process. SYNCED_ROOT is the folder; SYNCED_SHADOW, an empty folder outside of it, becomes the disk:
 *
 *   root            the key of SYNCED_ROOT
 *   files/KEY       what a file held when it was synced last
 *   folders/KEY     what a folder held when it was synced last, a line each: f or d, key, name
 *
 * A file's bytes count from its own fsync on, its name, a rename or removal included, from its folder's. What is in SYNCED_ROOT
 * when the process starts counts as synced. A key is an inode's number with its time of birth, since numbers are used again.
 * Whatever goes wrong here ends the process: a shadow with holes would prove nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX], shadow[PATH_MAX];
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *what)
{
    fprintf(stderr, "synced_only: %s: %s\n", what, strerror(errno));
    abort();
}

static void path_in_shadow(char *path, const char *kind, const char *key)
{
    if (snprintf(path, PATH_MAX, "%s/%s%s", shadow, kind, key) >= PATH_MAX)
        give_up("a path is too long");
}

/* Identify a file: `name` in the folder `fd`, or with an empty name `fd` itself. Returns its mode. */
static mode_t identify(int fd, const char *name, char *key)
{
    struct statx found;

    if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_INO | STATX_BTIME, &found))
        return 0; /* it went meanwhile */
    sprintf(key, "%llu-%lld-%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
    return found.stx_mode;
}

static int begin(char *temporary)
{
    int out;

    path_in_shadow(temporary, "unfinished", "");
    out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        give_up(temporary);
    return out;
}

static void finish(int out, const char *temporary, const char *kind, const char *key)
{
    char final[PATH_MAX];

    path_in_shadow(final, kind, key);
    if (close(out) || rename(temporary, final))
        give_up(final);
}

static void put(int out, const char *data, size_t size)
{
    while (size) {
        ssize_t done = write(out, data, size);
        if (done < 0)
            give_up("write");
        data += done;
        size -= (size_t)done;
    }
}

/* Read by the descriptor that there is: closing another one of the same file would drop the locks that its owner holds. */
static void keep_file(int fd, const char *key)
{
    char temporary[PATH_MAX], piece[65536];
    int out = begin(temporary);
    off_t at = 0;
    ssize_t count;

    while ((count = pread(fd, piece, sizeof piece, at)) > 0) {
        put(out, piece, (size_t)count);
        at += count;
    }
    if (count < 0)
        give_up("a file that was synced can't be read");
    finish(out, temporary, "files/", key);
}

static void keep_folder(int fd, const char *key)
{
    char temporary[PATH_MAX], inner[128], line[PATH_MAX];
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), out = begin(temporary);
    DIR *folder = again < 0 ? NULL : fdopendir(again);
    struct dirent *entry;

    if (!folder)
        give_up("a folder that was synced can't be read");
    while ((entry = readdir(folder))) {
        mode_t mode;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        mode = identify(again, entry->d_name, inner);
        if (mode)
            put(out, line, (size_t)sprintf(line, "%c %s %s\n", S_ISDIR(mode) ? 'd' : 'f', inner, entry->d_name));
    }
    closedir(folder);
    finish(out, temporary, "folders/", key);
}

static void keep(int fd)
{
    char link[64], path[PATH_MAX], key[128];
    ssize_t size;
    mode_t mode;

    if (!*root)
        return;
    sprintf(link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        give_up(link);
    path[size] = 0;
    if (strncmp(path, root, strlen(root)) || (path[strlen(root)] && path[strlen(root)] != '/'))
        return;
    pthread_mutex_lock(&one_at_a_time);
    mode = identify(fd, "", key);
    if (S_ISREG(mode))
        keep_file(fd, key);
    else if (S_ISDIR(mode))
        keep_folder(fd, key);
    pthread_mutex_unlock(&one_at_a_time);
}

static void keep_all(int folder)
{
    DIR *listing = fdopendir(dup(folder));
    struct dirent *entry;

    if (!listing)
        give_up("a folder can't be read");
    while ((entry = readdir(listing))) {
        int inner;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        inner = openat(folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            give_up(entry->d_name);
        if (entry->d_type == DT_DIR)
            keep_all(inner);
        else
            keep(inner);
        close(inner);
    }
    closedir(listing);
    keep(folder);
}

__attribute__((constructor)) static void start(void)
{
    const char *given = getenv("SYNCED_ROOT"), *beside = getenv("SYNCED_SHADOW");
    char path[PATH_MAX], key[128];
    int folder, out;

    if (!given || !beside)
        return;
    if (!realpath(given, root) || !realpath(beside, shadow))
        give_up("SYNCED_ROOT and SYNCED_SHADOW must be folders");
    path_in_shadow(path, "root", "");
    if (!access(path, F_OK)) { /* a process that this one started: the folder is not its own */
        *root = 0;
        return;
    }
    path_in_shadow(path, "files", "");
    mkdir(path, 0700);
    path_in_shadow(path, "folders", "");
    mkdir(path, 0700);
    folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        give_up(root);
    keep_all(folder);
    identify(folder, "", key);
    close(folder);
    out = begin(path);
    put(out, key, strlen(key));
    finish(out, path, "root", "");
}

int fsync(int fd)
{
    static int (*real)(int);
    int result;

    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    result = real(fd);
    if (!result)
        keep(fd);
    return result;
}

int fdatasync(int fd)
{
    static int (*real)(int);
    int result;

    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    result = real(fd);
    if (!result)
        keep(fd);
    return result;
}
