/* Counts positions that differ: an upper bound of the distance, and often close to it. */
#include <stdint.h>

void edit_distances(const uint8_t *first, const uint8_t *second, int pairs, int n, int m, int32_t *found)
{
    for (int k = 0; k < pairs; k++) {
        int shorter = n < m ? n : m, differ = n < m ? m - n : n - m;
        for (int i = 0; i < shorter; i++)
            differ += first[k * n + i] != second[k * m + i];
        found[k] = differ;
    }
}
