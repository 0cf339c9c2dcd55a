/* An S3 endpoint for benchmarks: takes objects, counts them, and throws their bytes away in the kernel.
 *
 * One thread, one epoll. It stores nothing but names, sizes, ETags and modification times, so that what a
 * client costs is the client's. Only photosync's own files (".photosync/" in the name) are kept, and their
 * SHA-256 is checked, because photosync asks what a service checks before it relies on it. Of everything else
 * it believes the checksums that it is sent, and says in /-/stats which those were. Uploads in parts are put
 * together as S3 does it, with SHA-256 of the parts or CRC-64/NVME of the whole.
 *
 * Usage: discard PORTFILE [MILLISECONDS]; listens on a free port of 127.0.0.1 and writes its number there. Every
 * request is answered so many milliseconds after it has arrived, as if the service were far away.
 *
 * For the benchmark itself, and neither counted nor delayed: /-/stats, /-/objects?prefix=, /-/forget?prefix=,
 * /-/copy?from=BUCKET&to=BUCKET.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_LIMIT = 1 << 16, MOST = 4096, PAGE = 1000, KINDS = 8 };

static void *must(void *memory) {
    if (!memory) {
        perror("out of memory");
        exit(1);
    }
    return memory;
}

/* Text that grows. */

typedef struct {
    char *at;
    size_t size, room;
} Text;

static void append(Text *text, const char *data, size_t size) {
    if (text->size + size + 1 > text->room) {
        text->room = (text->size + size + 1) * 2;
        text->at = must(realloc(text->at, text->room));
    }
    memcpy(text->at + text->size, data, size);
    text->size += size;
    text->at[text->size] = 0;
}

static void format(Text *text, const char *pattern, ...) {
    char line[4096];
    va_list rest;
    va_start(rest, pattern);
    int size = vsnprintf(line, sizeof line, pattern, rest);
    va_end(rest);
    append(text, line, size < (int)sizeof line ? (size_t)size : sizeof line - 1);
}

/* A name as XML, or as the percent-encoding that "encoding-type=url" asks for. */
static void name_text(Text *text, const char *name, size_t size, int as_url) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (as_url && !strchr("-_.~/*", c) && !((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9'))
            format(text, "%%%02X", c);
        else if (c == '&' || c == '<' || c == '>')
            format(text, "&#%d;", c);
        else
            append(text, (char *)&c, 1);
    }
}

/* SHA-256 (FIPS 180-4). */

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha256(const uint8_t *data, size_t size, uint8_t out[32]) {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t padded = (size + 9 + 63) / 64 * 64;
    for (size_t at = 0; at < padded; at += 64) {
        uint8_t block[64] = {0};
        if (at < size)
            memcpy(block, data + at, size - at < 64 ? size - at : 64);
        if (size >= at && size < at + 64)
            block[size - at] = 0x80;
        if (at + 64 == padded)
            for (int i = 0; i < 8; i++)
                block[56 + i] = (uint8_t)((uint64_t)size * 8 >> (56 - 8 * i));
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i++) {
            uint32_t one = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) +
                           ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
            uint32_t two = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) +
                           ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += one;
            v[0] = one + two;
        }
        for (int i = 0; i < 8; i++)
            h[i] += v[i];
    }
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t from_base64(const char *text, uint8_t *out, size_t room) {
    uint32_t bits = 0;
    size_t done = 0;
    for (int held = 0; *text && *text != '=' && done < room; text++) {
        const char *found = strchr(BASE64, *text);
        if (!found)
            return 0;
        bits = bits << 6 | (uint32_t)(found - BASE64);
        held += 6;
        if (held >= 8)
            out[done++] = (uint8_t)(bits >> (held -= 8));
    }
    return done;
}

static void to_base64(const uint8_t *data, size_t size, char *out) {
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16 | (i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < size ? data[i + 2] : 0);
        for (int j = 0; j < 4; j++)
            *out++ = i + (size_t)j > size ? '=' : BASE64[bits >> (18 - 6 * j) & 63];
    }
    *out = 0;
}

/* CRC-64/NVME, bit by bit: it is asked of a few bytes only. */
static uint64_t crc64(const uint8_t *data, size_t size) {
    uint64_t crc = ~(uint64_t)0;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x9a6c9329ac4bc9b5u : 0);
    }
    return ~crc;
}

/* Objects by name: "bucket/key". */

typedef struct {
    char *name, *data;
    uint64_t size;
    char etag[48], mtime[48], checksum[64], crc64[16];
} Object;

static Object **slots, **sorted;
static size_t room = 1 << 16, used, live, sorted_count;
static int dirty = 1;

static Object **slot_of(const char *name) {
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    size_t at = hash & (room - 1);
    while (slots[at] && strcmp(slots[at]->name, name))
        at = (at + 1) & (room - 1);
    return &slots[at];
}

/* The object, or NULL. One that was deleted keeps its slot, with an empty ETag. */
static Object *find(const char *name) {
    Object *found = *slot_of(name);
    return found && found->etag[0] ? found : NULL;
}

static Object *make(const char *name) {
    Object **slot = slot_of(name);
    dirty = 1;
    if (*slot) {
        live += !(*slot)->etag[0];
        free((*slot)->data);
        (*slot)->data = NULL;
        return *slot;
    }
    if (++used * 2 > room) {
        Object **old = slots;
        size_t before = room;
        room *= 2;
        slots = must(calloc(room, sizeof *slots));
        for (size_t i = 0; i < before; i++)
            if (old[i])
                *slot_of(old[i]->name) = old[i];
        free(old);
        slot = slot_of(name);
    }
    *slot = must(calloc(1, sizeof **slot));
    (*slot)->name = must(strdup(name));
    live++;
    return *slot;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(Object *const *)a)->name, (*(Object *const *)b)->name);
}

static void sort(void) {
    if (!dirty)
        return;
    sorted = must(realloc(sorted, (live + 1) * sizeof *sorted));
    sorted_count = 0;
    for (size_t i = 0; i < room; i++)
        if (slots[i] && slots[i]->etag[0])
            sorted[sorted_count++] = slots[i];
    qsort(sorted, sorted_count, sizeof *sorted, by_name);
    dirty = 0;
}

static size_t first_from(const char *name, int after) {
    size_t low = 0, high = sorted_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(sorted[middle]->name, name);
        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What clients did. */

static const char *const OPERATIONS[KINDS] = {"PUT", "GET", "HEAD", "LIST", "DELETE", "POST", "BUCKET", "OTHER"};
static uint64_t counts[KINDS], body_bytes;
static uint64_t sent_md5, sent_sha256, sent_crc, signed_body, unsigned_body;
static Text answer;

/* Uploads in parts. */

typedef struct {
    int held;
    uint64_t size;
    char sha256[64], crc64[16], etag[48];
    Text data;
} Part;

typedef struct Upload {
    struct Upload *next;
    char id[24], name[2048], mtime[48], algorithm[16];
    Part *parts;
    int room;
} Upload;

static Upload *uploads;

static Upload **upload_of(const char *id) {
    Upload **at = &uploads;
    while (*at && strcmp((*at)->id, id))
        at = &(*at)->next;
    return at;
}

static void drop(Upload **at) {
    Upload *gone = *at;
    *at = gone->next;
    for (int i = 0; i < gone->room; i++)
        free(gone->parts[i].data.at);
    free(gone->parts);
    free(gone);
}

/* Connections. */

typedef struct Connection {
    int fd, keep;
    char in[HEAD_LIMIT];
    size_t filled;
    uint64_t left, size;
    char method[16], target[2048], etag[80], if_none_match[80], if_match[80], mtime[48];
    char md5[48], sha256[64], payload[80], crc64[16], algorithm[16];
    int crc, close;
    Text body;
    double due;
    struct Connection *next;
} Connection;

static void send_all(Connection *c, const char *data, size_t size) {
    while (size) {
        ssize_t done = send(c->fd, data, size, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {c->fd, POLLOUT, 0};
            poll(&wait, 1, 10000);
        } else if (done <= 0) {
            c->close = 1;
            return;
        } else {
            data += done;
            size -= (size_t)done;
        }
    }
}

/* With status line, length and body; extra headers end in CRLF each. `length` counts for HEAD. */
static void reply(Connection *c, const char *status, const char *headers, const char *body, size_t length) {
    static Text out;
    out.size = 0;
    format(&out, "HTTP/1.1 %s\r\nx-amz-request-id: 0\r\nContent-Length: %zu\r\n%s\r\n", status, length, headers);
    if (strcmp(c->method, "HEAD"))
        append(&out, body, length);
    send_all(c, out.at, out.size);
}

static void refuse(Connection *c, const char *status, const char *code) {
    answer.size = 0;
    format(&answer, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
    int silent = !strcmp(c->method, "HEAD");
    reply(c, status, "Content-Type: application/xml\r\n", answer.at, silent ? 0 : answer.size);
}

static int hex(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static void unescape(char *text) {
    char *to = text;
    for (; *text; text++)
        if (*text == '%' && text[1] && text[2]) {
            *to++ = (char)(hex(text[1]) << 4 | hex(text[2]));
            text += 2;
        } else
            *to++ = *text == '+' ? ' ' : *text;
    *to = 0;
}

static void parameter(const char *query, const char *name, char *out, size_t size) {
    size_t length = strlen(name);
    out[0] = 0;
    for (const char *at = query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
        if (!strncmp(at, name, length) && at[length] == '=') {
            snprintf(out, size, "%.*s", (int)strcspn(at + length + 1, "&"), at + length + 1);
            unescape(out);
        }
}

static void list(Connection *c, const char *bucket, const char *query) {
    char prefix[MOST], token[MOST], after[MOST], delimiter[8], encoding[8], most_text[16], from[MOST * 2 + 2], common[MOST] = "";
    parameter(query, "prefix", prefix, sizeof prefix);
    parameter(query, "continuation-token", token, sizeof token);
    parameter(query, "start-after", after, sizeof after);
    if (!after[0])
        parameter(query, "marker", after, sizeof after); /* version 1, which rclone speaks here */
    parameter(query, "delimiter", delimiter, sizeof delimiter);
    parameter(query, "encoding-type", encoding, sizeof encoding);
    parameter(query, "max-keys", most_text, sizeof most_text);
    int most = most_text[0] ? atoi(most_text) : PAGE, as_url = encoding[0] != 0, shown = 0;
    size_t skip = strlen(bucket) + 1;
    snprintf(from, sizeof from, "%s/%s", bucket, token[0] ? token : after[0] ? after : prefix);
    sort();
    size_t at = first_from(from, token[0] || after[0]), length = skip + strlen(prefix);
    snprintf(from, sizeof from, "%s/%s", bucket, prefix);
    answer.size = 0;
    format(&answer, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    const char *last = "";
    for (; at < sorted_count && shown < most && !strncmp(sorted[at]->name, from, length); at++) {
        const Object *object = sorted[at];
        const char *end = delimiter[0] ? strchr(object->name + length, delimiter[0]) : NULL;
        last = object->name + skip;
        if (end) {
            size_t size = (size_t)(end + 1 - object->name) - skip;
            if (!strncmp(common, last, size) && !common[size])
                continue;
            snprintf(common, sizeof common, "%.*s", (int)size, last);
            format(&answer, "<CommonPrefixes><Prefix>");
            name_text(&answer, last, size, as_url);
            format(&answer, "</Prefix></CommonPrefixes>");
        } else {
            format(&answer, "<Contents><Key>");
            name_text(&answer, last, strlen(last), as_url);
            format(&answer, "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;%s&quot;</ETag>"
                   "<Size>%llu</Size><StorageClass>STANDARD</StorageClass></Contents>",
                   object->etag, (unsigned long long)object->size);
        }
        shown++;
    }
    /* The rest of a common prefix belongs to the page that named it. */
    while (common[0] && at < sorted_count && !strncmp(sorted[at]->name + skip, common, strlen(common)))
        last = sorted[at++]->name + skip;
    int more = at < sorted_count && !strncmp(sorted[at]->name, from, length);
    format(&answer, "<IsTruncated>%s</IsTruncated><KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys>", more ? "true" : "false", shown, most);
    if (as_url)
        format(&answer, "<EncodingType>url</EncodingType>");
    if (more) {
        const char *tag = strstr(query, "list-type=2") ? "NextContinuationToken" : "NextMarker";
        format(&answer, "<%s>", tag);
        name_text(&answer, last, strlen(last), as_url && tag[4] == 'M');
        format(&answer, "</%s>", tag);
    }
    format(&answer, "</ListBucketResult>");
    reply(c, "200 OK", "Content-Type: application/xml\r\n", answer.at, answer.size);
}

static void remove_object(const char *name) {
    Object *object = find(name);
    if (object) {
        object->etag[0] = 0;
        live--;
        dirty = 1;
    }
}

static void copy_bucket(const char *from, const char *to) {
    size_t length = strlen(from), count = sorted_count;
    Object **there = must(malloc((count + 1) * sizeof *there));
    memcpy(there, sorted, count * sizeof *there);
    for (size_t i = 0; i < count; i++) {
        const Object *old = there[i];
        char name[2048];
        if (strncmp(old->name, from, length) || old->name[length] != '/')
            continue;
        snprintf(name, sizeof name, "%s%s", to, old->name + length);
        Object *made = make(name);
        char *own = made->name;
        *made = *old;
        made->name = own;
        if (old->data) {
            made->data = must(malloc(old->size + 1));
            memcpy(made->data, old->data, old->size);
        }
    }
    free(there);
}

static void control(Connection *c, const char *name, const char *query) {
    char prefix[MOST], to[MOST];
    answer.size = 0;
    parameter(query, "prefix", prefix, sizeof prefix);
    sort();
    if (!strcmp(name, "objects") || !strcmp(name, "forget")) {
        for (size_t i = first_from(prefix, 0); i < sorted_count && !strncmp(sorted[i]->name, prefix, strlen(prefix)); i++)
            if (name[0] == 'o')
                format(&answer, "%llu %s\n", (unsigned long long)sorted[i]->size, sorted[i]->name);
            else
                remove_object(sorted[i]->name);
    } else if (!strcmp(name, "copy")) {
        parameter(query, "from", prefix, sizeof prefix);
        parameter(query, "to", to, sizeof to);
        copy_bucket(prefix, to);
    } else {
        struct rusage cost;
        getrusage(RUSAGE_SELF, &cost);
        format(&answer, "{");
        for (int i = 0; i < KINDS; i++)
            format(&answer, "\"%s\": %llu, ", OPERATIONS[i], (unsigned long long)counts[i]);
        format(&answer, "\"bytes\": %llu, \"md5\": %llu, \"sha256\": %llu, \"crc\": %llu, \"signed\": %llu, \"unsigned\": %llu, \"cpu_ms\": %ld}",
               (unsigned long long)body_bytes, (unsigned long long)sent_md5, (unsigned long long)sent_sha256,
               (unsigned long long)sent_crc, (unsigned long long)signed_body, (unsigned long long)unsigned_body,
               (cost.ru_utime.tv_sec + cost.ru_stime.tv_sec) * 1000 + (cost.ru_utime.tv_usec + cost.ru_stime.tv_usec) / 1000);
    }
    reply(c, "200 OK", "Content-Type: text/plain\r\n", answer.at ? answer.at : "", answer.size);
}

/* Whether an existing object, or a missing one, stands against writing; then the request is refused. */
static int in_the_way(Connection *c, const char *name) {
    const Object *there = find(name);
    if (there && c->if_none_match[0] == '*') {
        refuse(c, "412 Precondition Failed", "PreconditionFailed");
        return 1;
    }
    if (c->if_match[0] && (!there || strncmp(c->if_match + 1, there->etag, strlen(there->etag)))) {
        refuse(c, there ? "412 Precondition Failed" : "404 Not Found", there ? "PreconditionFailed" : "NoSuchKey");
        return 1;
    }
    return 0;
}

/* Whether kept bytes differ from what was said of them; then the request is refused. */
static int differs(Connection *c, const char *data, size_t size) {
    uint8_t told[33], is[32];
    char crc[16];
    uint64_t value = crc64((const uint8_t *)data, size);
    for (int i = 0; i < 8; i++)
        is[i] = (uint8_t)(value >> (56 - 8 * i));
    to_base64(is, 8, crc);
    int wrong = c->crc64[0] && strcmp(crc, c->crc64);
    if (c->sha256[0]) {
        sha256((const uint8_t *)data, size, is);
        wrong |= from_base64(c->sha256, told, sizeof told) != 32 || memcmp(told, is, 32);
    }
    if (wrong)
        refuse(c, "400 Bad Request", "BadDigest");
    return wrong;
}

static void account(const Connection *c) {
    body_bytes += c->size;
    sent_md5 += c->md5[0] != 0;
    sent_sha256 += c->sha256[0] != 0;
    sent_crc += c->crc != 0;
    signed_body += strlen(c->payload) == 64;
    unsigned_body += !strncmp(c->payload, "UNSIGNED", 8);
}

/* An ETag from what was said of the body; a new one if that was nothing. */
static void make_tag(const Connection *c, char *out) {
    static uint64_t serial;
    uint8_t tag[32] = {0};
    serial++;
    if (!from_base64(c->md5[0] ? c->md5 : c->sha256, tag, sizeof tag))
        memcpy(tag, &serial, sizeof serial);
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", tag[i]);
}

static void sums(char *headers, const char *sha, const char *crc) {
    if (sha[0])
        sprintf(headers + strlen(headers), "x-amz-checksum-sha256: %s\r\n", sha);
    if (crc[0])
        sprintf(headers + strlen(headers), "x-amz-checksum-crc64nvme: %s\r\n", crc);
}

static void put(Connection *c, const char *name) {
    char headers[400];
    if (in_the_way(c, name) || (c->keep && differs(c, c->body.at ? c->body.at : "", c->body.size)))
        return;
    Object *object = make(name);
    make_tag(c, object->etag);
    object->size = c->size;
    snprintf(object->mtime, sizeof object->mtime, "%s", c->mtime);
    snprintf(object->checksum, sizeof object->checksum, "%s", c->sha256);
    snprintf(object->crc64, sizeof object->crc64, "%s", c->crc64);
    if (c->keep) {
        object->data = must(malloc(c->body.size + 1));
        memcpy(object->data, c->body.at ? c->body.at : "", c->body.size);
    }
    snprintf(headers, sizeof headers, "ETag: \"%s\"\r\n", object->etag);
    sums(headers, object->checksum, object->crc64);
    reply(c, "200 OK", headers, "", 0);
    account(c);
}

static void begin_upload(Connection *c, const char *name) {
    static uint64_t serial;
    Upload *upload = must(calloc(1, sizeof *upload));
    snprintf(upload->id, sizeof upload->id, "u%llu", (unsigned long long)++serial);
    snprintf(upload->name, sizeof upload->name, "%s", name);
    snprintf(upload->mtime, sizeof upload->mtime, "%s", c->mtime);
    snprintf(upload->algorithm, sizeof upload->algorithm, "%s", c->algorithm);
    upload->next = uploads;
    uploads = upload;
    const char *key = strchr(name, '/') + 1;
    answer.size = 0;
    format(&answer, "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>%.*s</Bucket><Key>", (int)(key - 1 - name), name);
    name_text(&answer, key, strlen(key), 0);
    format(&answer, "</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", upload->id);
    reply(c, "200 OK", "Content-Type: application/xml\r\n", answer.at, answer.size);
}

static void put_part(Connection *c, Upload *upload, int number) {
    char headers[400];
    if (number < 1 || number > 10000) {
        refuse(c, "400 Bad Request", "InvalidArgument");
        return;
    }
    if (c->keep && differs(c, c->body.at ? c->body.at : "", c->body.size))
        return;
    if (number > upload->room) {
        upload->parts = must(realloc(upload->parts, (size_t)number * sizeof *upload->parts));
        memset(upload->parts + upload->room, 0, (size_t)(number - upload->room) * sizeof *upload->parts);
        upload->room = number;
    }
    Part *part = &upload->parts[number - 1];
    part->held = 1;
    part->size = c->size;
    snprintf(part->sha256, sizeof part->sha256, "%s", c->sha256);
    snprintf(part->crc64, sizeof part->crc64, "%s", c->crc64);
    make_tag(c, part->etag);
    part->data.size = 0;
    if (c->keep)
        append(&part->data, c->body.at ? c->body.at : "", c->body.size);
    snprintf(headers, sizeof headers, "ETag: \"%s\"\r\n", part->etag);
    sums(headers, part->sha256, part->crc64);
    reply(c, "200 OK", headers, "", 0);
    account(c);
}

static void list_parts(Connection *c, const Upload *upload) {
    answer.size = 0;
    format(&answer, "<?xml version=\"1.0\"?><ListPartsResult><UploadId>%s</UploadId>", upload->id);
    for (int i = 0; i < upload->room; i++) {
        const Part *part = &upload->parts[i];
        if (!part->held)
            continue;
        format(&answer, "<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag><Size>%llu</Size>", i + 1, part->etag,
               (unsigned long long)part->size);
        if (part->sha256[0])
            format(&answer, "<ChecksumSHA256>%s</ChecksumSHA256>", part->sha256);
        if (part->crc64[0])
            format(&answer, "<ChecksumCRC64NVME>%s</ChecksumCRC64NVME>", part->crc64);
        format(&answer, "</Part>");
    }
    format(&answer, "<IsTruncated>false</IsTruncated></ListPartsResult>");
    reply(c, "200 OK", "Content-Type: application/xml\r\n", answer.at, answer.size);
}

static void complete(Connection *c, Upload **at, const char *name) {
    static Text data, digests;
    Upload *upload = *at;
    uint64_t size = 0;
    int count = 0, all = 1;
    data.size = digests.size = 0;
    if (in_the_way(c, name))
        return;
    for (int i = 0; i < upload->room; i++) {
        const Part *part = &upload->parts[i];
        uint8_t digest[33];
        if (!part->held)
            continue;
        count++;
        size += part->size;
        append(&data, part->data.at ? part->data.at : "", part->data.size);
        if (from_base64(part->sha256, digest, sizeof digest) == 32)
            append(&digests, (char *)digest, 32);
        else
            all = 0;
    }
    if (!count) {
        refuse(c, "400 Bad Request", "InvalidPart");
        return;
    }
    if (strstr(name, ".photosync/") && differs(c, data.at, data.size))
        return;
    Object *object = make(name);
    Connection part_of = {0};
    make_tag(&part_of, object->etag);
    snprintf(object->etag + 32, sizeof object->etag - 32, "-%d", count);
    object->size = size;
    snprintf(object->mtime, sizeof object->mtime, "%s", upload->mtime);
    object->checksum[0] = object->crc64[0] = 0;
    if (all && !strcasecmp(upload->algorithm, "SHA256")) {
        uint8_t digest[32];
        sha256((const uint8_t *)digests.at, digests.size, digest);
        to_base64(digest, 32, object->checksum);
        snprintf(object->checksum + strlen(object->checksum), 8, "-%d", count);
    } else if (!strcasecmp(upload->algorithm, "CRC64NVME"))
        snprintf(object->crc64, sizeof object->crc64, "%s", c->crc64);
    if (data.size) {
        object->data = must(malloc(data.size + 1));
        memcpy(object->data, data.at, data.size);
    }
    const char *key = strchr(name, '/') + 1;
    answer.size = 0;
    format(&answer, "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><Bucket>%.*s</Bucket><Key>", (int)(key - 1 - name), name);
    name_text(&answer, key, strlen(key), 0);
    format(&answer, "</Key><ETag>&quot;%s&quot;</ETag>", object->etag);
    if (object->checksum[0])
        format(&answer, "<ChecksumSHA256>%s</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>", object->checksum);
    if (object->crc64[0])
        format(&answer, "<ChecksumCRC64NVME>%s</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>", object->crc64);
    format(&answer, "</CompleteMultipartUploadResult>");
    reply(c, "200 OK", "Content-Type: application/xml\r\n", answer.at, answer.size);
    drop(at);
}

static void in_parts(Connection *c, const char *name, const char *id, const char *query) {
    Upload **at = upload_of(id);
    char number[16];
    if (!*at || strcmp((*at)->name, name)) {
        refuse(c, "404 Not Found", "NoSuchUpload");
        return;
    }
    counts[!strcmp(c->method, "PUT") ? 0 : !strcmp(c->method, "POST") ? 5 : !strcmp(c->method, "GET") ? 3 : 4]++;
    if (!strcmp(c->method, "PUT")) {
        parameter(query, "partNumber", number, sizeof number);
        put_part(c, *at, atoi(number));
    } else if (!strcmp(c->method, "POST"))
        complete(c, at, name);
    else if (!strcmp(c->method, "GET"))
        list_parts(c, *at);
    else {
        drop(at);
        reply(c, "204 No Content", "", "", 0);
    }
}

static void get(Connection *c, const char *name) {
    const Object *object = find(name);
    char headers[400];
    if (!object) {
        refuse(c, "404 Not Found", "NoSuchKey");
        return;
    }
    if (!object->data && strcmp(c->method, "HEAD")) {
        refuse(c, "501 Not Implemented", "BodyWasDiscarded");
        return;
    }
    snprintf(headers, sizeof headers, "ETag: \"%s\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n", object->etag);
    if (object->mtime[0])
        snprintf(headers + strlen(headers), 100, "x-amz-meta-mtime: %s\r\n", object->mtime);
    sums(headers, object->checksum, object->crc64);
    reply(c, "200 OK", headers, object->data ? object->data : "", object->size);
}

/* The request is complete. */
static void act(Connection *c) {
    char *query = strchr(c->target, '?');
    const char *method = c->method;
    if (query)
        *query++ = 0;
    else
        query = "";
    char *name = c->target + 1;
    unescape(name);
    if (!strncmp(name, "-/", 2)) {
        control(c, name + 2, query);
        return;
    }
    char *slash = strchr(name, '/'), id[24];
    parameter(query, "uploadId", id, sizeof id);
    if (slash && slash[1] && id[0]) {
        in_parts(c, name, id, query);
    } else if (slash && slash[1] && !strcmp(method, "POST") && !strncmp(query, "uploads", 7)) {
        counts[5]++;
        begin_upload(c, name);
    } else if (!slash || !slash[1]) {
        if (slash)
            *slash = 0;
        if (!strcmp(method, "GET") && name[0]) {
            counts[3]++;
            list(c, name, query);
        } else {
            counts[6]++;
            reply(c, "200 OK", "", "", 0);
        }
    } else if (!strcmp(method, "PUT")) {
        counts[0]++;
        put(c, name);
    } else if (!strcmp(method, "GET") || !strcmp(method, "HEAD")) {
        counts[method[0] == 'G' ? 1 : 2]++;
        get(c, name);
    } else if (!strcmp(method, "DELETE")) {
        counts[4]++;
        remove_object(name);
        reply(c, "204 No Content", "", "", 0);
    } else {
        counts[strcmp(method, "POST") ? 7 : 5]++;
        refuse(c, "501 Not Implemented", "NotImplemented");
    }
}

static void value(const char *line, const char *name, char *out, size_t room_for) {
    size_t length = strlen(name);
    if (!strncasecmp(line, name, length) && line[length] == ':') {
        line += length + 1;
        line += strspn(line, " ");
        snprintf(out, room_for, "%s", line);
    }
}

/* Reads a request's head; `end` is where its empty line begins. */
static void begin(Connection *c, char *end) {
    char length[32] = "0", decoded[32] = "", expect[16] = "", crc[64] = "", host[8] = "";
    c->md5[0] = c->sha256[0] = c->payload[0] = c->if_none_match[0] = c->if_match[0] = c->mtime[0] = c->crc64[0] = c->algorithm[0] = 0;
    *end = 0;
    char *line = strstr(c->in, "\r\n");
    if (line)
        *line = 0;
    if (sscanf(c->in, "%15s %2047s", c->method, c->target) != 2)
        c->close = 1;
    while (line) {
        line += 2;
        char *next = strstr(line, "\r\n");
        if (next)
            *next = 0;
        value(line, "content-length", length, sizeof length);
        value(line, "x-amz-decoded-content-length", decoded, sizeof decoded);
        value(line, "expect", expect, sizeof expect);
        value(line, "content-md5", c->md5, sizeof c->md5);
        value(line, "x-amz-content-sha256", c->payload, sizeof c->payload);
        value(line, "x-amz-checksum-sha256", c->sha256, sizeof c->sha256);
        value(line, "x-amz-checksum-crc32", crc, sizeof crc);
        value(line, "x-amz-checksum-crc32c", crc, sizeof crc);
        value(line, "x-amz-checksum-crc64nvme", crc, sizeof crc);
        value(line, "x-amz-checksum-crc64nvme", c->crc64, sizeof c->crc64);
        value(line, "x-amz-trailer", crc, sizeof crc);
        value(line, "x-amz-checksum-algorithm", c->algorithm, sizeof c->algorithm);
        value(line, "if-none-match", c->if_none_match, sizeof c->if_none_match);
        value(line, "if-match", c->if_match, sizeof c->if_match);
        value(line, "x-amz-meta-mtime", c->mtime, sizeof c->mtime);
        value(line, "transfer-encoding", host, sizeof host);
        line = next;
    }
    if (host[0])
        c->close = 1; /* no client measured here sends bodies of unknown length */
    c->left = strtoull(length, NULL, 10);
    c->size = decoded[0] ? strtoull(decoded, NULL, 10) : c->left;
    c->crc = crc[0] != 0;
    c->body.size = 0;
    c->keep = strstr(c->target, ".photosync/") != NULL || !strcmp(c->method, "POST");
    if (expect[0] && c->left)
        send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* Requests that wait for their answer; all wait equally long, so the first to come is the first to go. */
static Connection *first, **last_next = &first;
static double delay;
static int poller;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void listen_to(Connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void put_off(Connection *c) {
    c->due = now() + delay;
    c->next = NULL;
    *last_next = c;
    last_next = &c->next;
    listen_to(c, 0);
}

/* Takes what is there; 0 when the connection is done for. */
static int serve(Connection *c) {
    static char scrap[1 << 16];
    int in_body = c->left != 0;
    while (!c->close) {
        if (in_body) {
            size_t want = c->left < sizeof scrap ? (size_t)c->left : sizeof scrap;
            /* MSG_TRUNC drops the bytes of a TCP stream without copying them (tcp(7)). */
            if (!c->keep)
                want = (size_t)(c->left < 1 << 30 ? c->left : 1 << 30);
            ssize_t got = recv(c->fd, scrap, want, c->keep ? 0 : MSG_TRUNC);
            if (got <= 0)
                return got < 0 && errno == EAGAIN;
            if (c->keep)
                append(&c->body, scrap, (size_t)got);
            c->left -= (uint64_t)got;
        } else {
            ssize_t got = recv(c->fd, c->in + c->filled, sizeof c->in - 1 - c->filled, 0);
            if (got <= 0)
                return got < 0 && errno == EAGAIN;
            c->filled += (size_t)got;
        }
        for (;;) {
            if (in_body && !c->left) {
                in_body = 0;
                if (delay > 0 && strncmp(c->target, "/-/", 3)) {
                    put_off(c);
                    return 1;
                }
                act(c);
            }
            c->in[c->filled] = 0;
            char *end = in_body ? NULL : strstr(c->in, "\r\n\r\n");
            if (!end)
                break;
            begin(c, end);
            size_t head = (size_t)(end + 4 - c->in), rest = c->filled - head;
            size_t body = rest < c->left ? rest : (size_t)c->left;
            if (c->keep)
                append(&c->body, c->in + head, body);
            c->left -= body;
            memmove(c->in, c->in + head + body, rest - body);
            c->filled = rest - body;
            in_body = 1;
        }
        if (!in_body && c->filled == sizeof c->in - 1)
            return 0;
    }
    return 0;
}

static void end(Connection *c) {
    close(c->fd);
    free(c->body.at);
    free(c);
}

/* Answers whose time has come; milliseconds until the next one, -1: nobody waits. */
static int answer_due(void) {
    while (first) {
        double left = first->due - now();
        if (left > 0)
            return (int)left + 1;
        Connection *c = first;
        first = c->next;
        if (!first)
            last_next = &first;
        listen_to(c, EPOLLIN);
        act(c);
        if (!serve(c))
            end(c);
    }
    return -1;
}

int main(int count, char **arguments) {
    if (count < 2)
        return 2;
    if (count > 2)
        delay = atof(arguments[2]);
    signal(SIGPIPE, SIG_IGN);
    slots = must(calloc(room, sizeof *slots));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    poller = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("listening");
        return 1;
    }
    FILE *file = fopen(arguments[1], "w");
    if (!file || fprintf(file, "%d\n", ntohs(address.sin_port)) < 0 || fclose(file)) {
        perror(arguments[1]);
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 64, answer_due());
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (c) {
                if (!serve(c))
                    end(c);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
            if (fd < 0)
                continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            c = must(calloc(1, sizeof *c));
            c->fd = fd;
            event.data.ptr = c;
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
