/* What is in an open folder, as columns: what `photosync.backends.local_tree` does in Python, in less time.
 *
 * scandir and lstat cost Python 2 microseconds a file, much of it for objects that nobody keeps, and hand
 * the interpreter's lock over twice. Here names are read, sorted and looked at while other threads run, and
 * columns leave as bytes. Whatever is out of the ordinary is left to the Python code. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

/* Beside errno's values, which are positive. */
enum { DONE = 0, NO_MEMORY = -1, OUT_OF_THE_ORDINARY = -2 };

/* Names that are looked at before Ctrl-C is asked about: some file systems need milliseconds for each. */
enum { TURN = 64 };

enum { PATH_BYTES, SIZE, TIME, VERSION_BYTES, COLUMNS };

typedef struct {
    char *bytes;
    size_t used, room;
} Text;

typedef struct {
    const char *inside; /* put before each name of a regular file */
    size_t inside_bytes;
    int change_times;
    Text names;    /* as they were read, NUL behind each */
    char **sorted; /* the names */
    size_t count, next;
    Text paths, versions; /* of the regular files */
    int64_t *columns[COLUMNS];
    size_t files, odd; /* what is no regular file is moved to the front of `sorted` */
    mode_t *modes;     /* of those */
} Folder;

static int append(Text *text, const char *bytes, size_t size) {
    /* Also for nothing at all: memcpy wants to be told where. */
    if (size >= text->room - text->used) {
        size_t room = 2 * text->room + size + 4096;
        char *larger = realloc(text->bytes, room);
        if (larger == NULL) return NO_MEMORY;
        text->bytes = larger;
        text->room = room;
    }
    memcpy(text->bytes + text->used, bytes, size);
    text->used += size;
    return DONE;
}

static int read_names(Folder *folder, DIR *stream) {
    for (;;) {
        /* The only thing that tells an error from the end. */
        errno = 0;
        struct dirent *child = readdir(stream);
        if (child == NULL) return errno;
        const char *name = child->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        if (name[0] == '\0' || strchr(name, '/') != NULL) return OUT_OF_THE_ORDINARY;
        if (append(&folder->names, name, strlen(name) + 1) != DONE) return NO_MEMORY;
        folder->count++;
    }
}

static int by_bytes(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static int sort_names(Folder *folder) {
    /* One more than there are: of nothing, calloc may answer NULL. */
    size_t most = folder->count + 1;
    folder->sorted = calloc(most, sizeof *folder->sorted);
    folder->modes = calloc(most, sizeof *folder->modes);
    int64_t *columns = folder->columns[0] = calloc(most, COLUMNS * sizeof *columns);
    if (folder->sorted == NULL || folder->modes == NULL || columns == NULL) return NO_MEMORY;
    for (size_t at = 1; at < COLUMNS; at++)
        folder->columns[at] = columns + at * most;
    char *name = folder->names.bytes;
    for (size_t at = 0; at < folder->count; at++, name += strlen(name) + 1)
        folder->sorted[at] = name;
    qsort(folder->sorted, folder->count, sizeof *folder->sorted, by_bytes);
    return DONE;
}

/* As os.scandir does: by a copy of the descriptor, whose position is the same one, and is put back. */
static int list_names(Folder *folder, int copy) {
    DIR *stream = fdopendir(copy);
    if (stream == NULL) {
        int failed = errno;
        close(copy);
        return failed;
    }
    int failed = read_names(folder, stream);
    rewinddir(stream);
    closedir(stream);
    return failed == DONE ? sort_names(folder) : failed;
}

/* Nanoseconds since the epoch; false if 64 bits do not hold them, or hardly. */
static int to_ns(struct timespec time, int64_t *ns) {
    const int64_t second = 1000000000, most = INT64_MAX / second - 1;
    if (time.tv_sec > most || time.tv_sec < -most || time.tv_nsec < 0 || time.tv_nsec >= second) return 0;
    *ns = (int64_t)time.tv_sec * second + time.tv_nsec;
    return 1;
}

/* "=" and the number, as a column of versions keeps them. */
static int append_version(Folder *folder, int64_t number) {
    char text[24], *start = text + sizeof text;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        *--start = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--start = '-';
    *--start = '=';
    size_t size = (size_t)(text + sizeof text - start);
    folder->columns[VERSION_BYTES][folder->files] = (int64_t)size;
    return append(&folder->versions, start, size);
}

static int keep_file(Folder *folder, const char *name, const struct stat *found) {
    int64_t changed, *time = &folder->columns[TIME][folder->files];
    if (found->st_size < 0 || !to_ns(found->st_mtim, time) || !to_ns(found->st_ctim, &changed))
        return OUT_OF_THE_ORDINARY;
    size_t size = strlen(name) + 1;
    folder->columns[SIZE][folder->files] = found->st_size;
    folder->columns[PATH_BYTES][folder->files] = (int64_t)(folder->inside_bytes + size);
    if (append_version(folder, folder->change_times ? changed : *time) != DONE
        || append(&folder->paths, folder->inside, folder->inside_bytes) != DONE
        || append(&folder->paths, name, size) != DONE)
        return NO_MEMORY;
    folder->files++;
    return DONE;
}

/* Looks at the next few names; after an error, `next` is the one that it is about. */
static int look(Folder *folder, int fd) {
    for (int left = TURN; left > 0 && folder->next < folder->count; left--, folder->next++) {
        char *name = folder->sorted[folder->next];
        struct stat found;
        /* What is told twice, as happens while files are renamed. */
        if (folder->next + 1 < folder->count && strcmp(name, folder->sorted[folder->next + 1]) == 0)
            return OUT_OF_THE_ORDINARY;
        if (fstatat(fd, name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
            /* Removed since its name was read, so it is simply not there. */
            if (errno == ENOENT) continue;
            return errno;
        }
        if (S_ISREG(found.st_mode)) {
            int failed = keep_file(folder, name, &found);
            if (failed != DONE) return failed;
        } else {
            folder->modes[folder->odd] = found.st_mode;
            folder->sorted[folder->odd++] = name;
        }
    }
    return DONE;
}

static PyObject *column(const Folder *folder, int which) {
    Py_ssize_t size = (Py_ssize_t)(folder->files * sizeof *folder->columns[which]);
    return PyBytes_FromStringAndSize((const char *)folder->columns[which], size);
}

static PyObject *text(const Text *from) {
    return PyBytes_FromStringAndSize(from->bytes, (Py_ssize_t)from->used);
}

static PyObject *result(const Folder *folder) {
    PyObject *others = PyList_New(0);
    for (size_t at = 0; others != NULL && at < folder->odd; at++) {
        PyObject *other = Py_BuildValue("yI", folder->sorted[at], (unsigned int)folder->modes[at]);
        if (other == NULL || PyList_Append(others, other) != 0)
            Py_CLEAR(others);
        Py_XDECREF(other);
    }
    if (others == NULL) return NULL;
    return Py_BuildValue("NNNNNNN", text(&folder->paths), column(folder, PATH_BYTES), column(folder, SIZE),
                         column(folder, TIME), text(&folder->versions), column(folder, VERSION_BYTES), others);
}

static PyObject *listed(Folder *folder, PyObject *fd_object, int fd) {
    int failed, copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return PyErr_SetFromErrno(PyExc_OSError);
    Py_BEGIN_ALLOW_THREADS
    failed = list_names(folder, copy);
    Py_END_ALLOW_THREADS
    const char *name = NULL;
    while (failed == DONE && folder->next < folder->count) {
        Py_BEGIN_ALLOW_THREADS
        failed = look(folder, fd);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() != 0) return NULL;
        name = folder->sorted[folder->next];
    }
    if (failed == DONE) return result(folder);
    if (failed == OUT_OF_THE_ORDINARY) return Py_NewRef(Py_None);
    if (failed == NO_MEMORY) return PyErr_NoMemory();
    errno = failed;
    return name == NULL ? PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, fd_object)
                        : PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
}

static PyObject *listing(PyObject *self, PyObject *arguments) {
    (void)self;
    Folder folder = {0};
    PyObject *fd_object;
    Py_ssize_t inside_bytes;
    if (!PyArg_ParseTuple(arguments, "Oy#p", &fd_object, &folder.inside, &inside_bytes, &folder.change_times))
        return NULL;
    folder.inside_bytes = (size_t)inside_bytes;
    int fd = PyObject_AsFileDescriptor(fd_object);
    PyObject *found = fd < 0 ? NULL : listed(&folder, fd_object, fd);
    free(folder.names.bytes);
    free(folder.sorted);
    free(folder.paths.bytes);
    free(folder.versions.bytes);
    free(folder.columns[0]);
    free(folder.modes);
    return found;
}

static PyMethodDef methods[] = {{"listing", listing, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "photosync.backends._folder", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__folder(void) {
    return PyModuleDef_Init(&module);
}
