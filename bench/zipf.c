/* zipf.c: rejection-inversion.
 *
 * The histogram of x^-exponent is covered by its integral H, shifted by half a rank.  A point drawn
 * uniformly under H and inverted gives a rank, which is kept if the point lies within the rank's
 * own bar.  Nearly all are kept, and nothing is summed up beforehand.  The two helpers keep the
 * formulas exact where the exponent is close to 1. */
#include "bench/zipf.h"

#include <math.h>

static double log1p_over(double x)
{
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

static double expm1_over(double x)
{
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

/* The integral of t^-exponent from 1 to x. */
static double integral(const struct tm_zipf *z, double x)
{
    return expm1_over((1 - z->exponent) * log(x)) * log(x);
}

static double integral_inverse(const struct tm_zipf *z, double y)
{
    double t = fmax(y * (1 - z->exponent), -1);
    return exp(log1p_over(t) * y);
}

static double share(const struct tm_zipf *z, double x)
{
    return exp(-z->exponent * log(x));
}

void tm_zipf_init(struct tm_zipf *z, uint64_t n, double exponent)
{
    TM_ASSERT(n >= 1 && exponent > 0);
    *z = (struct tm_zipf){.exponent = exponent, .n = (double)n};
    z->low = integral(z, 1.5) - 1;
    z->high = integral(z, z->n + 0.5);
    z->shift = 2 - integral_inverse(z, integral(z, 2.5) - share(z, 2));
}

uint64_t tm_zipf_draw(const struct tm_zipf *z, struct tm_rng *rng)
{
    for (;;) {
        double unit = (double)(tm_rng_next(rng) >> 11) * 0x1p-53;
        double y = z->high + unit * (z->low - z->high);
        double x = integral_inverse(z, y);
        double rank = fmin(fmax(floor(x + 0.5), 1), z->n);
        if (rank - x <= z->shift || y >= integral(z, rank + 0.5) - share(z, rank))
            return (uint64_t)rank;
    }
}
