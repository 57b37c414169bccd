/* The body of halves.h, included once for float and once for double. */

#define V NAME(halves_vec)
#define INDEX NAME(halves_index)

typedef R V __attribute__((vector_size(8 * sizeof(R))));
typedef I INDEX __attribute__((vector_size(8 * sizeof(R))));

static inline V NAME(halves_either)(INDEX chosen, V a, V b) {
    INDEX ia, ib;
    memcpy(&ia, &a, sizeof a);
    memcpy(&ib, &b, sizeof b);
    ia = (ib & chosen) | (ia & ~chosen);
    memcpy(&a, &ia, sizeof a);
    return a;
}

/* Where b takes the place of a: it is larger, or the first NaN. */
static inline INDEX NAME(halves_follows)(V a, V b) {
    return (b > a) | ((b != b) & (a == a));
}

/* n windows of rows a and b: the maximum, and its place 0 .. 3 (place may be NULL). */
static void NAME(halves_max)(R* out, uint8_t* place, const R* a, const R* b, ptrdiff_t n) {
    for (ptrdiff_t k = 0; k < n; k += 4) {
        ptrdiff_t at = k < n - 4 ? k : n - 4;
        V top, bottom, left, right;
        memcpy(&top, a + 2 * at, sizeof top);
        memcpy(&bottom, b + 2 * at, sizeof bottom);
        left = HALVES_MIX(top, bottom, 0, 2, 4, 6, 8, 10, 12, 14);
        right = HALVES_MIX(top, bottom, 1, 3, 5, 7, 9, 11, 13, 15);
        INDEX wins = NAME(halves_follows)(left, right);
        INDEX tap = (wins & 1) + (INDEX){0, 0, 0, 0, 2, 2, 2, 2};
        V most = NAME(halves_either)(wins, left, right);
        V below = HALVES_MIX(most, most, 4, 5, 6, 7, 4, 5, 6, 7);
        INDEX below_tap = HALVES_MIX(tap, tap, 4, 5, 6, 7, 4, 5, 6, 7);
        wins = NAME(halves_follows)(most, below);
        most = NAME(halves_either)(wins, most, below);
        memcpy(out + at, &most, sizeof most / 2);
        if (place) {
            halves_byte bytes = __builtin_convertvector((below_tap & wins) | (tap & ~wins),
                                                        halves_byte);
            memcpy(place + at, &bytes, sizeof bytes / 2);
        }
    }
}

/* Rows a and b of the gradient of the input: g where the maximum was, else 0. */
static void NAME(halves_back)(R* a, R* b, const R* g, const uint8_t* place, ptrdiff_t n) {
    for (ptrdiff_t k = 0; k < n; k += 4) {
        ptrdiff_t at = k < n - 4 ? k : n - 4;
        V grad = {0}, zero = {0}, top, bottom;
        halves_byte bytes = {0};
        memcpy(&grad, g + at, sizeof grad / 2);
        memcpy(&bytes, place + at, sizeof bytes / 2);
        INDEX tap = __builtin_convertvector(bytes, INDEX);
        grad = HALVES_MIX(grad, grad, 0, 0, 1, 1, 2, 2, 3, 3);
        tap = HALVES_MIX(tap, tap, 0, 0, 1, 1, 2, 2, 3, 3);
        top = NAME(halves_either)(tap == (INDEX){0, 1, 0, 1, 0, 1, 0, 1}, zero, grad);
        bottom = NAME(halves_either)(tap == (INDEX){2, 3, 2, 3, 2, 3, 2, 3}, zero, grad);
        memcpy(a + 2 * at, &top, sizeof top);
        memcpy(b + 2 * at, &bottom, sizeof bottom);
    }
}

#undef R
#undef I
#undef NAME
#undef V
#undef INDEX
