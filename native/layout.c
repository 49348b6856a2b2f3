/*
 * Lines of a layout to columns: fields, and the literals behind them, as flows/parsing/layout.py
 * says. A field ends where its literal comes first, hence where its lazy regular expression ends
 * first; whatever does not fit then is left open.
 */

#include "native.h"

/* A text, in the lines or made of them. */
typedef struct {
    const byte *at, *end, *base;
    int32_t buffer;
} Text;

static inline bool is_here(const Literal *literal, const byte *at, const byte *end)
{
    uint64_t found;

    memcpy(&found, at, sizeof found); /* behind a line 16 bytes may be read */
    return !((found ^ literal->word) & literal->mask) && end - at >= literal->size &&
           (literal->size <= 8 || !memcmp(at, literal->text, literal->size));
}

static inline bool is(const byte *at, const byte *end, const Literal *literal)
{
    return end - at == literal->size && is_here(literal, at, end);
}

/* Where the byte comes first; NULL if nowhere. Most words are short. */
static inline const byte *find(const byte *at, const byte *end, byte which)
{
#ifdef __SSE2__
    for (; at < end; at += LANES) {
        unsigned found = bits(_mm_cmpeq_epi8(load(at), all(which)));
        if (found) {
            at += __builtin_ctz(found);
            return at < end ? at : NULL;
        }
    }
    return NULL;
#else
    return memchr(at, which, end - at);
#endif
}

static bool has(const byte *at, const byte *end, byte which)
{
#ifdef __SSE2__
    int64_t size = end - at;
    if (size <= LANES) { /* as most are */
        unsigned found = size ? bits(_mm_cmpeq_epi8(load(at), all(which))) : 0;
        return found << (LANES - size) & 0xffff;
    }
#endif
    return memchr(at, which, end - at);
}

static bool is_digit(byte found)
{
    return found >= '0' && found <= '9';
}

/* Where a text with escapes ends; NULL if it does not. */
static const byte *end_of_escaped(const byte *at, const byte *end)
{
    for (; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at : NULL;
}

/* Where the field ends, of which `at` is the first byte that may be its end; NULL: nowhere. */
static const byte *find_end(const Step *step, const byte *begin, const byte *at, const byte *end)
{
    if (!step->behind.size)
        return at ? at : end;
    if (step->shape == ESCAPED)
        return NULL;
    while (at && !is_here(&step->behind, at, end))
        at = find(at + 1, end, step->until);
    return at && (step->shape == WORDS || !has(begin, at, ' ')) ? at : NULL;
}

static int hexadecimal(byte digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* Undoes the escapes of Apache and nginx; false if one is not as usual. */
static bool unescape(Reading *reading, Text *text)
{
    static const char NAMES[] = "\"\\ntrbv", MEANT[] = "\"\\\n\t\r\b\v";
    Made *made = &reading->texts;
    byte *begin = made->data + made->size, *to = begin;

    for (const byte *at = text->at; at < text->end; at++) {
        *to++ = *at;
        if (*at != '\\')
            continue;
        if (!*++at)
            return false;
        const char *name = strchr(NAMES, *at);
        if (name) {
            to[-1] = (byte)MEANT[name - NAMES];
        } else if (*at == 'x' && text->end - at > 2) {
            int high = hexadecimal(at[1]), low = hexadecimal(at[2]);
            if (high < 0 || low < 0 || high > 7) /* more is a part of a character, or of none */
                return false;
            to[-1] = (byte)(high << 4 | low);
            at += 2;
        } else {
            return false;
        }
    }
    made->size = to - made->data;
    *text = (Text){begin, to, made->data, made->buffer};
    return true;
}

/* Undoes the escapes of JSON; false if one is not as usual. */
static bool unescape_json(Reading *reading, Text *text)
{
    Made *made = &reading->texts;
    int64_t begin = made->size;

    if (!append_text(made, text->at, text->end + 1, false)) /* up to its quote */
        return false;
    *text = (Text){made->data + begin, made->data + made->size, made->data, made->buffer};
    return true;
}

/* A part of a text as the value of a key. */
static void put_text(const Reading *reading, int64_t key, int64_t line, const Text *text,
                     const byte *at, const byte *end)
{
    ((View *)reading->keys[key].out)[line] = view_of(at, end - at, text->buffer, text->base);
}

/* `"name":"text",`, of which the key's name is what is before the text. */
static bool append_member(Made *made, const Key *key, const byte *at, const byte *end)
{
    append(made, key->name, key->size);
    for (;; at++) {
        const byte *stop = end_of_plain(at, end, '"');
        append(made, at, stop - at);
        at = stop;
        if (stop == end)
            break;
        if (*stop < ' ')
            return false;
        byte escaped[] = {'\\', *stop};
        append(made, escaped, sizeof escaped);
    }
    append(made, "\",", 2);
    return true;
}

/* Many lines have one attribute, which is that of the line before: it is not written again. */
static bool append_attribute(Reading *reading, const Key *key, const byte *at, const byte *end)
{
    const Member *last = &reading->last;

    if (!reading->members++) {
        reading->is_again = last->key == key && last->size == end - at &&
                            is_same(last->at, at, last->size);
        if (!reading->is_again)
            reading->last = (Member){key, at, end - at};
    } else if (reading->is_again) {
        reading->is_again = false;
        append_member(&reading->objects, last->key, last->at, last->at + last->size);
    }
    return reading->is_again || append_member(&reading->objects, key, at, end);
}

/* Whether the text ends with ` HTTP/1.1` or ` HTTP/2`; `protocol` is where the space is. */
static bool find_protocol(const byte *at, const byte *end, const byte **protocol)
{
    int64_t size = end - at;

    if (size >= 9 && end[-2] == '.' && is_digit(end[-1]) && is_digit(end[-3]))
        *protocol = end - 9;
    else if (size >= 7 && is_digit(end[-1]))
        *protocol = end - 7;
    else
        return false;
    return !memcmp(*protocol, " HTTP/", 6);
}

/* `method path protocol`: of three keys. */
static bool put_request(Reading *reading, int64_t key, int64_t line, const Text *request)
{
    const byte *protocol, *at = request->at, *end = request->end;

    if (!find_protocol(at, end, &protocol))
        return false;
    while (at < protocol && *at >= 'A' && *at <= 'Z')
        at++;
    const byte *path = at + 1;
    if (at == request->at || path >= protocol || *at != ' ' || *path == ' ' || protocol[-1] == ' ')
        return false;
    put_text(reading, key, line, request, request->at, at);
    put_text(reading, key + 1, line, request, path, protocol);
    return append_attribute(reading, &reading->keys[key + 2], protocol + 1, end);
}

/* A time as Apache writes it is mostly the one of the line before. */
static bool read_clf_again(Reading *reading, const Text *text, int64_t *micros)
{
    enum { SIZE = 26 };
    const byte *last = reading->last_time;

    if (text->end - text->at != SIZE)
        return false;
    if (!last || !is_same(last, text->at, SIZE)) {
        if (!read_clf(text->at, text->end, micros))
            return false;
        reading->last_time = text->at;
        reading->last_micros = *micros;
    }
    *micros = reading->last_micros;
    return true;
}

static bool put_moment(Reading *reading, const Step *step, int64_t line, const Text *text)
{
    int64_t micros;
    bool is_zoned = true;
    Number number;

    switch (step->meaning) {
    case CLF:
        if (!read_clf_again(reading, text, &micros))
            return false;
        break;
    case HAPROXY:
        is_zoned = false;
        if (!read_haproxy(text->at, text->end, &micros))
            return false;
        break;
    case EPOCH:
        if (read_number(text->at, text->end, &number) != text->end ||
            !micros_since_1970(&number, &micros))
            return false;
        break;
    default:
        if (!read_iso(text->at, text->end, &micros, &is_zoned))
            return false;
    }
    return put_time(reading, &reading->keys[step->key], line, micros, is_zoned);
}

static bool put_status(const Key *key, int64_t line, const Text *text)
{
    int status;

    if (text->end - text->at != 3 || !read_digits(text->at, 3, &status) || status < 100 ||
        status > 599)
        return false;
    ((uint16_t *)key->out)[line] = (uint16_t)status;
    return true;
}

static bool put_count(const Key *key, int64_t line, const Text *text)
{
    uint64_t count = 0;

    if (text->end - text->at > 20)
        return false;
    for (const byte *at = text->at; at < text->end; at++) {
        unsigned digit = *at - '0';
        if (digit > 9 || count > (UINT64_MAX - digit) / 10)
            return false;
        count = count * 10 + digit;
    }
    ((uint64_t *)key->out)[line] = count;
    return true;
}

/* A number as programs write what is small, such as 1e-05. */
static bool read_small(const Text *text, Number *number)
{
    const byte *e = memchr(text->at, 'e', text->end - text->at);
    int exponent;

    if (!e || text->end - e < 3 || text->end - e > 4 || e[1] != '-' ||
        !read_digits(e + 2, (int)(text->end - e - 2), &exponent) ||
        read_number(text->at, e, number) != e)
        return false;
    number->decimals += exponent;
    return true;
}

static bool put_seconds(const Key *key, int64_t line, const Text *text)
{
    Number number;

    if (read_number(text->at, text->end, &number) == text->end || read_small(text, &number))
        return put_number(key, line, &number);
    return !key->shift && put_duration(key, line, text->at, text->end);
}

/* Whether one space is between all words, and none around them. */
static bool is_evenly_spaced(const byte *at, const byte *end)
{
    if (at == end || *at == ' ' || end[-1] == ' ')
        return false;
    for (; (at = memchr(at, ' ', end - at)); at++)
        if (at[1] == ' ')
            return false;
    return true;
}

/* Whether the field is nothing that the definition has to look at. */
static bool is_usual(const Step *step, Text *text)
{
    bool is_word = is(text->at, text->end, &step->words[0]) ||
                   is(text->at, text->end, &step->words[1]);

    for (int64_t which = 0; which < step->odd.size; which++)
        if (has(text->at, text->end, step->odd.text[which]))
            return false;
    if (step->shape == DIGITS)
        for (const byte *digit = text->at; digit < text->end; digit++)
            if (!is_digit(*digit))
                return false;
    if (step->shape != WORDS && step->until != ' ' && has(text->at, text->end, ' '))
        return false;
    if (step->is_even && !is_evenly_spaced(text->at, text->end))
        return false;
    if (is_word && !step->is_choice)
        text->end = text->at;
    return is_word || !step->is_choice;
}

static inline bool put_field(Reading *reading, const Step *step, int64_t line, Text *text)
{
    const Key *key = &reading->keys[step->key];

    switch (key->kind) {
    case TIME:
        return put_moment(reading, step, line, text);
    case SMALL:
        return is_no_number(text->at, text->end) || put_status(key, line, text);
    case LARGE:
        return is_no_number(text->at, text->end) || put_count(key, line, text);
    case SECONDS:
        return is_no_number(text->at, text->end) || put_seconds(key, line, text);
    }
    if (step->meaning == REQUEST)
        return put_request(reading, step->key, line, text);
    if (text->end - text->at == 1 && *text->at == '-' && step->dash_is_none)
        text->end = text->at;
    if (key->kind == ATTRIBUTE)
        return text->at == text->end || append_attribute(reading, key, text->at, text->end);
    put_text(reading, step->key, line, text, text->at, text->end);
    return true;
}

static bool read_steps(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const bool has_escapes = reading->may_escape && memchr(at, '\\', end - at);

    for (const Step *step = reading->steps, *last = step + reading->step_count; step < last;
         step++) {
        const byte *begin = at + step->before.size, *stop = NULL;
        bool is_escaped = has_escapes && step->shape == ESCAPED;
        if (!step->before.size || is_here(&step->before, at, end)) {
            const byte *from = begin;
            if (step->shape == TWO_WORDS) {
                from = find(from, end, ' ');
                from = from && from > begin ? from + 1 : end;
            }
            stop = is_escaped                ? end_of_escaped(begin, end)
                   : step->shape == ESCAPED ? memchr(begin, '"', end - begin)
                   : step->until            ? find(from, end, step->until)
                                            : end;
            if (!stop || !is_here(&step->behind, stop, end))
                stop = find_end(step, begin, stop, end);
            if (stop == from && step->shape < WORDS)
                stop = NULL;
        }
        if (!stop) {
            if (!step->is_optional)
                return false;
            continue;
        }
        at = stop + step->behind.size;
        Text text = {begin, stop, reading->lines, IN_LINES};
        if (step->is_watched && !is_usual(step, &text))
            return false;
        if (is_escaped && memchr(begin, '\\', stop - begin) &&
            !(step->is_json ? unescape_json(reading, &text) : unescape(reading, &text)))
            return false;
        if (!put_field(reading, step, line, &text))
            return false;
    }
    return at == end;
}

bool read_layout(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    int64_t object = begin_object(reading);

    reading->members = reading->is_again = 0;
    bool is_read = read_steps(reading, line, at, end);
    if (reading->is_again) {
        reading->objects.size = object;
        reading->attributes[line] = reading->last_object;
        return is_read;
    }
    end_object(reading, line, object);
    if (reading->members == 1 && is_read)
        reading->last_object = reading->attributes[line];
    else
        reading->last.key = NULL;
    return is_read;
}
