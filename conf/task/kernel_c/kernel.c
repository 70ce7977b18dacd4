/* Edit distances by the whole table, in strips of columns. */
#include <stdint.h>
#include <stdlib.h>

#define STRIP 4096 // tune: 16..4096 log

static int least(int a, int b) { return a < b ? a : b; }

static int edit_distance(const uint8_t *a, int n, const uint8_t *b, int m)
{
    int width = m + 1;
    int *table = malloc(sizeof(int) * (size_t)(n + 1) * width);
    for (int j = 0; j <= m; j++)
        table[j] = j;
    for (int start = 1; start <= m; start += STRIP)
        for (int i = 1; i <= n; i++) {
            int *row = table + (size_t)i * width, *above = row - width;
            row[0] = i;
            for (int j = start; j <= least(m, start + STRIP - 1); j++)
                row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
        }
    int result = table[(size_t)n * width + m];
    free(table);
    return result;
}

void edit_distances(const uint8_t *first, const uint8_t *second, int pairs, int n, int m, int32_t *found)
{
    for (int k = 0; k < pairs; k++)
        found[k] = edit_distance(first + (size_t)k * n, n, second + (size_t)k * m, m);
}
