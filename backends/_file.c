/* A small file from its root to its last byte, with one call from Python.
 *
 * Opened, read and closed in Python, a photo below two folders takes 15 calls, each of which gives the
 * interpreter's lock away and waits for it again. Whatever goes wrong here, or is out of the ordinary, is
 * answered by nothing: the Python code then asks anew, and says what it is. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

enum { FOLDER = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

typedef struct {
    const char *root, *path;
    size_t most; /* bytes that a file may have */
    dev_t device;
    struct stat found;
} File;

/* The folder of a path, or -1. Below the root no link is followed. */
static int open_folder(File *file, const char **name) {
    struct stat root;
    int fd = open(file->root, FOLDER);
    if (fd >= 0 && fstat(fd, &root) == 0) file->device = root.st_dev;
    const char *from = file->path, *end;
    for (; fd >= 0 && (end = strchr(from, '/')) != NULL; from = end + 1) {
        char part[NAME_MAX + 1];
        size_t size = (size_t)(end - from);
        int inner = -1;
        if (size < sizeof part) {
            memcpy(part, from, size);
            part[size] = '\0';
            inner = openat(fd, part, FOLDER | O_NOFOLLOW);
        }
        close(fd);
        fd = inner;
    }
    *name = from;
    return fd;
}

static int is_small_file(const File *file, const struct stat *found) {
    return S_ISREG(found->st_mode) && found->st_size >= 0 && (uintmax_t)found->st_size <= file->most;
}

static int same_time(struct timespec one, struct timespec other) {
    return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

/* A descriptor of the file, or -1. */
static int open_file(File *file) {
    const char *name;
    int folder = open_folder(file, &name), fd = -1;
    if (folder < 0) return -1;
    /* Looked at first: merely opening some devices does something. */
    if (fstatat(folder, name, &file->found, AT_SYMLINK_NOFOLLOW) == 0 && is_small_file(file, &file->found))
        fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    close(folder);
    if (fd >= 0 && (fstat(fd, &file->found) != 0 || !is_small_file(file, &file->found))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Whether the file has as many bytes as it was said to have, and looks the same after they were read. */
static int read_file(const struct stat *before, int fd, char *bytes) {
    size_t size = (size_t)before->st_size, done = 0;
    struct stat after;
    char beyond;
    ssize_t more;
    do {
        /* One byte beyond, so that the last answer says that this is the end. */
        struct iovec into[] = {{bytes + done, size - done}, {&beyond, 1}};
        more = readv(fd, into, 2);
        done += more > 0 ? (size_t)more : 0;
    } while (more > 0 && done < size);
    return more >= 0 && done == size && fstat(fd, &after) == 0 && after.st_size == before->st_size
        && same_time(after.st_mtim, before->st_mtim) && same_time(after.st_ctim, before->st_ctim);
}

static PyObject *whole(PyObject *self, PyObject *arguments) {
    (void)self;
    File file = {0};
    const struct stat *found = &file.found;
    Py_ssize_t most;
    int fd, done;
    if (!PyArg_ParseTuple(arguments, "yyn", &file.root, &file.path, &most)) return NULL;
    file.most = most < 0 ? 0 : (size_t)most;
    Py_BEGIN_ALLOW_THREADS
    fd = open_file(&file);
    Py_END_ALLOW_THREADS
    if (fd < 0) return Py_NewRef(Py_None);
    /* Read to where it stays: copying it once more would cost as much as reading it. */
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)found->st_size);
    char *bytes = data == NULL ? NULL : PyBytes_AsString(data);
    Py_BEGIN_ALLOW_THREADS
    done = bytes != NULL && read_file(found, fd, bytes);
    close(fd);
    Py_END_ALLOW_THREADS
    if (done)
        return Py_BuildValue("KNLlLl", (unsigned long long)file.device, data,
                             (long long)found->st_mtim.tv_sec, (long)found->st_mtim.tv_nsec,
                             (long long)found->st_ctim.tv_sec, (long)found->st_ctim.tv_nsec);
    if (data == NULL) return NULL;
    Py_DECREF(data);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {{"whole", whole, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "photosync.backends._file", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__file(void) {
    return PyModuleDef_Init(&module);
}
