/* An S3 endpoint for benchmarks: takes objects, counts them, and throws their bytes away in the kernel.
 *
 * One thread, one epoll. It stores nothing but names, sizes, ETags and modification times, so that what a
 * client costs is the client's. Only photosync's own files (".photosync/" in the name) are kept, and their
 * SHA-256 is checked, because photosync asks what a service checks before it relies on it. Of everything else
 * it believes the checksums that it is sent, and says in /-/stats which those were.
 *
 * Usage: discard PORTFILE; listens on a free port of 127.0.0.1 and writes its number there.
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

/* Objects by name: "bucket/key". */

typedef struct {
    char *name, *data;
    uint64_t size;
    char etag[33], mtime[48], checksum[48];
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

/* Connections. */

typedef struct {
    int fd, keep;
    char in[HEAD_LIMIT];
    size_t filled;
    uint64_t left, size;
    char method[16], target[2048], etag[80], if_none_match[80], if_match[80], mtime[48];
    char md5[48], sha256[64], payload[80];
    int crc, close;
    Text body;
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

static void control(Connection *c, const char *name) {
    answer.size = 0;
    if (!strcmp(name, "objects")) {
        sort();
        for (size_t i = 0; i < sorted_count; i++)
            format(&answer, "%llu %s\n", (unsigned long long)sorted[i]->size, sorted[i]->name);
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

static void put(Connection *c, const char *name) {
    static uint64_t serial;
    const Object *there = find(name);
    char headers[256];
    if (there && c->if_none_match[0] == '*') {
        refuse(c, "412 Precondition Failed", "PreconditionFailed");
        return;
    }
    if (c->if_match[0] && (!there || strncmp(c->if_match + 1, there->etag, 32))) {
        refuse(c, there ? "412 Precondition Failed" : "404 Not Found", there ? "PreconditionFailed" : "NoSuchKey");
        return;
    }
    if (c->keep && c->sha256[0]) {
        uint8_t told[33], is[32];
        sha256((const uint8_t *)c->body.at, c->body.size, is);
        if (from_base64(c->sha256, told, sizeof told) != 32 || memcmp(told, is, 32)) {
            refuse(c, "400 Bad Request", "BadDigest");
            return;
        }
    }
    uint8_t tag[32] = {0};
    size_t told = from_base64(c->md5[0] ? c->md5 : c->sha256, tag, sizeof tag);
    serial++;
    if (!told)
        memcpy(tag, &serial, sizeof serial);
    Object *object = make(name);
    for (int i = 0; i < 16; i++)
        snprintf(object->etag + 2 * i, 3, "%02x", tag[i]);
    object->size = c->size;
    snprintf(object->mtime, sizeof object->mtime, "%s", c->mtime);
    snprintf(object->checksum, sizeof object->checksum, "%.44s", c->sha256);
    if (c->keep) {
        object->data = must(malloc(c->body.size + 1));
        memcpy(object->data, c->body.at ? c->body.at : "", c->body.size);
    }
    snprintf(headers, sizeof headers, "ETag: \"%s\"\r\n", object->etag);
    if (c->sha256[0])
        snprintf(headers + strlen(headers), 100, "x-amz-checksum-sha256: %s\r\n", object->checksum);
    reply(c, "200 OK", headers, "", 0);
    body_bytes += c->size;
    sent_md5 += c->md5[0] != 0;
    sent_sha256 += c->sha256[0] != 0;
    sent_crc += c->crc != 0;
    signed_body += strlen(c->payload) == 64;
    unsigned_body += !strncmp(c->payload, "UNSIGNED", 8);
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
    if (object->checksum[0])
        snprintf(headers + strlen(headers), 100, "x-amz-checksum-sha256: %s\r\n", object->checksum);
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
        control(c, name + 2);
        return;
    }
    char *slash = strchr(name, '/');
    if (!slash || !slash[1]) {
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
        Object *object = find(name);
        counts[4]++;
        if (object) {
            object->etag[0] = 0;
            live--;
            dirty = 1;
        }
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
    c->md5[0] = c->sha256[0] = c->payload[0] = c->if_none_match[0] = c->if_match[0] = c->mtime[0] = 0;
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
    c->keep = strstr(c->target, ".photosync/") != NULL;
    if (expect[0] && c->left)
        send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
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

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    slots = must(calloc(room, sizeof *slots));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0);
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
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (c) {
                if (!serve(c)) {
                    close(c->fd);
                    free(c->body.at);
                    free(c);
                }
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
